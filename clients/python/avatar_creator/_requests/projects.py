"""Requests of the project service."""

from __future__ import annotations

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import field_mask, given_or_new, id_of
from avatar_creator.v1.avatar_project_pb2 import AvatarProject as ProjectMessage
from avatar_creator.v1.avatar_project_service_pb2 import (
    CreateProjectRequest,
    CreateProjectResponse,
    DeleteProjectRequest,
    DeleteProjectResponse,
    GetProjectRequest,
    GetProjectResponse,
    ListProjectsRequest,
    ListProjectsResponse,
    UpdateProjectRequest,
    UpdateProjectResponse,
)
from avatar_creator.values import OpenedProject, Project


def create_project(
    name: str, description: str, request_id: str | None
) -> Call[CreateProjectResponse, Project]:
    request = CreateProjectRequest(name=name, description=description, request_id=given_or_new(request_id))
    return Call(rpcs.CREATE_PROJECT, request, lambda response: Project.from_message(response.project))


def get_project(project: Project | str) -> Call[GetProjectResponse, Project]:
    request = GetProjectRequest(project_id=id_of("project", Project, project))
    return Call(rpcs.GET_PROJECT, request, lambda response: Project.from_message(response.project))


def open_project(project: Project | str, include_links: bool) -> Call[GetProjectResponse, OpenedProject]:
    request = GetProjectRequest(
        project_id=id_of("project", Project, project), include_avatars=True, include_links=include_links
    )
    return Call(rpcs.GET_PROJECT, request, OpenedProject.from_message)


def list_projects(
    include_newest_avatars: bool, include_links: bool, user_id: str
) -> ListCall[ListProjectsResponse, Project]:
    request = ListProjectsRequest(
        include_newest_avatars=include_newest_avatars, include_links=include_links, user_id=user_id
    )
    return ListCall(
        rpcs.LIST_PROJECTS, request, lambda response: map(Project.from_message, response.projects)
    )


def update_project(
    project: Project | str,
    name: str | None,
    description: str | None,
    expected_revision: int,
    request_id: str | None,
) -> Call[UpdateProjectResponse, Project]:
    request = UpdateProjectRequest(
        project=ProjectMessage(
            id=id_of("project", Project, project), name=name or "", description=description or ""
        ),
        update_mask=field_mask(None, name=name, description=description),
        expected_revision=expected_revision,
        request_id=given_or_new(request_id),
    )
    return Call(rpcs.UPDATE_PROJECT, request, lambda response: Project.from_message(response.project))


def delete_project(project: Project | str) -> Call[DeleteProjectResponse, None]:
    return Call(
        rpcs.DELETE_PROJECT,
        DeleteProjectRequest(project_id=id_of("project", Project, project)),
        lambda _: None,
    )
