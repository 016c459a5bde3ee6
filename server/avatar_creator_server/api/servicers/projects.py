"""Servicer of `AvatarProjectService`."""

from __future__ import annotations

from avatar_creator.v1 import avatar_project_service_pb2 as pb
from avatar_creator.v1 import avatar_project_service_pb2_grpc as pb_grpc
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator_server.api.access import current_caller, privileged_caller, resolve_list_owner
from avatar_creator_server.api.answers import fit
from avatar_creator_server.api.context import Context
from avatar_creator_server.api.field_masks import written_paths
from avatar_creator_server.api.request_keys import request_key
from avatar_creator_server.api.servicers.avatars import avatar_encoder, encode_avatars
from avatar_creator_server.api.validation import validate
from avatar_creator_server.avatars.records import AvatarFilter
from avatar_creator_server.avatars.service import Avatars
from avatar_creator_server.contract import mapping
from avatar_creator_server.generations.project_deletion import ProjectDeletion
from avatar_creator_server.images.picture_links import PictureLinks
from avatar_creator_server.projects.records import Project
from avatar_creator_server.projects.service import Projects

_WRITABLE = ("name", "description")


class ProjectService(pb_grpc.AvatarProjectServiceServicer):
    """Projects of the calling user."""

    def __init__(
        self, projects: Projects, deletion: ProjectDeletion, avatars: Avatars, links: PictureLinks
    ) -> None:
        self._projects = projects
        self._deletion = deletion
        self._avatars = avatars
        self._links = links

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
        return pb.CreateProjectResponse(project=mapping.project_to_proto(project))

    async def GetProject(self, request: pb.GetProjectRequest, context: Context) -> pb.GetProjectResponse:
        validate(request)
        caller = privileged_caller(request)
        project = await self._projects.get(caller, request.project_id)
        response = pb.GetProjectResponse(project=mapping.project_to_proto(project))
        if request.include_avatars:
            page = await self._avatars.list_page(
                caller, AvatarFilter(project_id=project.id), page_size=0, page_token=""
            )
            links = self._links if request.include_links else None
            avatars, page = await encode_avatars(self._avatars, page, with_thumbnails=True, links=links)
            response.avatars.extend(avatars)
            response.next_page_token = page.next_page_token
        return response

    async def ListProjects(
        self, request: pb.ListProjectsRequest, context: Context
    ) -> pb.ListProjectsResponse:
        validate(request)
        caller = resolve_list_owner(request)
        page = await self._projects.list_page(
            caller, page_size=request.page_size, page_token=request.page_token
        )
        if not request.include_newest_avatars:
            projects, page = fit(page, mapping.project_to_proto)
        else:
            newest = await self._avatars.newest_of(caller, [project.id for project in page.items])
            encode_avatar = avatar_encoder(self._links if request.include_links else None)

            def encode(project: Project) -> AvatarProject:
                message = mapping.project_to_proto(project)
                message.newest_avatars.extend(map(encode_avatar, newest.get(project.id, ())))
                return message

            projects, page = fit(page, encode)
        return pb.ListProjectsResponse(projects=projects, next_page_token=page.next_page_token)

    async def UpdateProject(
        self, request: pb.UpdateProjectRequest, context: Context
    ) -> pb.UpdateProjectResponse:
        changed = request.project
        written = written_paths(request, "project", writable=_WRITABLE)
        project = await self._projects.update(
            current_caller(),
            request_key("UpdateProject", request.request_id, request),
            changed.id,
            {name: getattr(changed, name) for name in written},
            expected_revision=request.expected_revision,
        )
        return pb.UpdateProjectResponse(project=mapping.project_to_proto(project))

    async def DeleteProject(
        self, request: pb.DeleteProjectRequest, context: Context
    ) -> pb.DeleteProjectResponse:
        validate(request)
        await self._deletion.delete(current_caller(), request.project_id)
        return pb.DeleteProjectResponse()
