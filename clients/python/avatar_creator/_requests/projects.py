"""Requests of the project service."""

from __future__ import annotations

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import field_mask, given_or_new
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
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


def create_project(
    name: str, description: str, request_id: str | None
) -> Call[CreateProjectResponse, AvatarProject]:
    request = CreateProjectRequest(name=name, description=description, request_id=given_or_new(request_id))
    return Call(rpcs.CREATE_PROJECT, request, lambda response: response.project)


def get_project(project_id: str) -> Call[GetProjectResponse, AvatarProject]:
    request = GetProjectRequest(project_id=project_id)
    return Call(rpcs.GET_PROJECT, request, lambda response: response.project)


def open_project(project_id: str) -> Call[GetProjectResponse, GetProjectResponse]:
    request = GetProjectRequest(project_id=project_id, include_avatars=True)
    return Call(rpcs.GET_PROJECT, request, lambda response: response)


def list_projects(user_id: str) -> ListCall[ListProjectsResponse, AvatarProject]:
    request = ListProjectsRequest(user_id=user_id)
    return ListCall(rpcs.LIST_PROJECTS, request, lambda response: response.projects)


def update_project(
    project_id: str,
    name: str | None,
    description: str | None,
    expected_revision: int,
    request_id: str | None,
) -> Call[UpdateProjectResponse, AvatarProject]:
    request = UpdateProjectRequest(
        project=AvatarProject(id=project_id, name=name or "", description=description or ""),
        update_mask=field_mask(None, name=name, description=description),
        expected_revision=expected_revision,
        request_id=given_or_new(request_id),
    )
    return Call(rpcs.UPDATE_PROJECT, request, lambda response: response.project)


def delete_project(project_id: str) -> Call[DeleteProjectResponse, None]:
    return Call(rpcs.DELETE_PROJECT, DeleteProjectRequest(project_id=project_id), lambda _: None)
