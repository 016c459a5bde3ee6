"""Requests of the project service."""

from __future__ import annotations

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import LARGEST_INT64, RequestArguments
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
    name: str, description: str | None, request_id: str | None
) -> Call[CreateProjectResponse, Project]:
    with RequestArguments() as given:
        request = CreateProjectRequest(
            name=given.text("name", name, required=True),
            description=given.text("description", description),
            request_id=given.request_id(request_id),
        )
    return Call(rpcs.CREATE_PROJECT, request, lambda response: Project.from_message(response.project))


def get_project(project: Project | str) -> Call[GetProjectResponse, Project]:
    request = GetProjectRequest(project_id=_id_of(project))
    return Call(rpcs.GET_PROJECT, request, lambda response: Project.from_message(response.project))


def open_project(
    project: Project | str, include_links: bool | None
) -> Call[GetProjectResponse, OpenedProject]:
    with RequestArguments() as given:
        request = GetProjectRequest(
            project_id=given.id("project", Project, project),
            include_avatars=True,
            include_links=given.flag("include_links", include_links),
        )
    return Call(rpcs.GET_PROJECT, request, OpenedProject.from_message)


def list_projects(
    include_newest_avatars: bool | None,
    include_links: bool | None,
    user_id: str | None,
    page_token: str | None,
    page_size: int | None,
) -> ListCall[ListProjectsResponse, Project]:
    with RequestArguments() as given:
        request = ListProjectsRequest(
            include_newest_avatars=given.flag("include_newest_avatars", include_newest_avatars),
            include_links=given.flag("include_links", include_links),
            user_id=given.text("user_id", user_id),
            page_token=given.text("page_token", page_token),
            page_size=given.whole("page_size", page_size),
        )
    return ListCall(
        rpcs.LIST_PROJECTS, request, lambda response: map(Project.from_message, response.projects)
    )


def update_project(
    project: Project | str,
    name: str | None,
    description: str | None,
    expected_revision: int | None,
    request_id: str | None,
) -> Call[UpdateProjectResponse, Project]:
    with RequestArguments() as given:
        request = UpdateProjectRequest(
            project=ProjectMessage(
                id=given.id("project", Project, project),
                name=given.text("name", name),
                description=given.text("description", description),
            ),
            update_mask=given.mask(None, name=name, description=description),
            expected_revision=given.whole("expected_revision", expected_revision, most=LARGEST_INT64),
            request_id=given.request_id(request_id),
        )
    return Call(rpcs.UPDATE_PROJECT, request, lambda response: Project.from_message(response.project))


def delete_project(project: Project | str) -> Call[DeleteProjectResponse, None]:
    return Call(rpcs.DELETE_PROJECT, DeleteProjectRequest(project_id=_id_of(project)), lambda _: None)


def _id_of(project: Project | str) -> str:
    with RequestArguments() as given:
        return given.id("project", Project, project)
