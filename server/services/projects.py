"""Serves `AvatarProjectService`."""

from __future__ import annotations

from google.protobuf.field_mask_pb2 import FieldMask

from avatar_creator.v1 import avatar_project_service_pb2 as pb
from avatar_creator.v1 import avatar_project_service_pb2_grpc as pb_grpc
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from server import wire
from server.domain.avatars import AvatarFilter, Avatars
from server.domain.errors import FieldViolation
from server.domain.projects import Projects
from server.interceptors.around import Context
from server.interceptors.auth import current_caller
from server.services.request_keys import request_key
from server.validation import ID, RULES, refuse, validate

_WRITABLE = ("name", "description")
_SHOWN_CHARACTERS = 60


class ProjectService(pb_grpc.AvatarProjectServiceServicer):
    """Projects of the calling user."""

    def __init__(self, projects: Projects, avatars: Avatars) -> None:
        self._projects = projects
        self._avatars = avatars

    async def CreateProject(
        self, request: pb.CreateProjectRequest, context: Context
    ) -> pb.CreateProjectResponse:
        validate(request)
        project = await self._projects.create(
            current_caller(),
            request_key("CreateProject", request.request_id, request),
            name=request.name,
            description=request.description,
        )
        return pb.CreateProjectResponse(project=wire.project_to_proto(project))

    async def GetProject(self, request: pb.GetProjectRequest, context: Context) -> pb.GetProjectResponse:
        validate(request)
        project = await self._projects.get(current_caller(), request.project_id)
        response = pb.GetProjectResponse(project=wire.project_to_proto(project))
        if request.include_avatars:
            page = await self._avatars.page(
                current_caller(), AvatarFilter(project_id=project.id), size=0, page_token=""
            )
            thumbnails = await self._avatars.thumbnails(page.items)
            response.avatars.extend(map(wire.avatar_to_proto, page.items, thumbnails))
            response.next_page_token = page.next_page_token
        return response

    async def ListProjects(
        self, request: pb.ListProjectsRequest, context: Context
    ) -> pb.ListProjectsResponse:
        validate(request)
        page = await self._projects.page(
            current_caller(), size=request.page_size, page_token=request.page_token
        )
        return pb.ListProjectsResponse(
            projects=map(wire.project_to_proto, page.items), next_page_token=page.next_page_token
        )

    async def UpdateProject(
        self, request: pb.UpdateProjectRequest, context: Context
    ) -> pb.UpdateProjectResponse:
        changes = _changes(request.project, request.update_mask)
        project = await self._projects.update(current_caller(), request.project.id, changes)
        return pb.UpdateProjectResponse(project=wire.project_to_proto(project))

    async def DeleteProject(
        self, request: pb.DeleteProjectRequest, context: Context
    ) -> pb.DeleteProjectResponse:
        validate(request)
        await self._projects.delete(current_caller(), request.project_id)
        return pb.DeleteProjectResponse()


def _changes(project: AvatarProject, mask: FieldMask) -> dict[str, str]:
    """What an update writes: the masked fields, or without a mask those that are populated."""
    paths = list(mask.paths) or [path for path in _WRITABLE if getattr(project, path)]
    violations = [
        FieldViolation("update_mask", f"{path[:_SHOWN_CHARACTERS]!r} is not a field that can be written")
        for path in paths
        if path not in (*_WRITABLE, "*")
    ]
    written = _WRITABLE if "*" in paths else tuple(path for path in paths if path in _WRITABLE)
    values: dict[str, str] = {path: getattr(project, path) for path in written}
    violations += [
        FieldViolation(f"project.{path}", wrong)
        for path, value in values.items()
        for rule in RULES["CreateProjectRequest"][path]
        if (wrong := rule(value)) is not None
    ]
    if (wrong_id := ID(project.id)) is not None:
        violations.append(FieldViolation("project.id", wrong_id))
    refuse(violations)
    return values
