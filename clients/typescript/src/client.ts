/** The client: all functions of this package on one connection. */

import type { DescMessage, DescService, MessageInitShape } from "@bufbuild/protobuf";
import { createClient, type Client, type Transport } from "@connectrpc/connect";
import type { AvatarProject } from "../gen/avatar_creator/v1/avatar_project_pb.js";
import {
  AvatarProjectService,
  type ListProjectsRequestSchema,
  type ListProjectsResponse,
} from "../gen/avatar_creator/v1/avatar_project_service_pb.js";
import type { Avatar } from "../gen/avatar_creator/v1/avatar_pb.js";
import {
  AvatarService,
  type ListAvatarsRequestSchema,
  type ListAvatarsResponse,
} from "../gen/avatar_creator/v1/avatar_service_pb.js";
import type { Generation } from "../gen/avatar_creator/v1/generation_pb.js";
import {
  GenerationService,
  type ListGenerationsRequestSchema,
  type ListGenerationsResponse,
} from "../gen/avatar_creator/v1/generation_service_pb.js";
import {
  OperationsService,
  type ListUsersRequestSchema,
  type ListUsersResponse,
  type ListWorkersRequestSchema,
  type ListWorkersResponse,
} from "../gen/avatar_creator/v1/operations_service_pb.js";
import type { UserActivity, Worker } from "../gen/avatar_creator/v1/operations_pb.js";
import type { PersonaExample } from "../gen/avatar_creator/v1/persona_pb.js";
import type { AvatarPreset } from "../gen/avatar_creator/v1/preset_pb.js";
import {
  PresetService,
  type ListPersonaExamplesRequestSchema,
  type ListPersonaExamplesResponse,
  type ListPresetsRequestSchema,
  type ListPresetsResponse,
} from "../gen/avatar_creator/v1/preset_service_pb.js";
import type { AppUsageSummary, UsageRecord } from "../gen/avatar_creator/v1/usage_pb.js";
import {
  UsageService,
  type ListUsageRequestSchema,
  type ListUsageResponse,
  type SummarizeUsageRequestSchema,
  type SummarizeUsageResponse,
} from "../gen/avatar_creator/v1/usage_service_pb.js";
import { withRetries, type CallOptions } from "./calls.js";
import { connect, type Connection, type ConnectionOptions } from "./connection.js";
import { download, type DownloadOptions } from "./download.js";
import { items, type Items } from "./pages.js";
import { upload, type UploadOptions } from "./upload.js";
import { watch, type Watch, type WatchOptions, type WatchSelection } from "./watch.js";

type Request<S extends DescMessage> = MessageInitShape<S>;

/** Projects: every RPC of `AvatarProjectService`, and a list through all pages. */
export interface Projects extends Client<typeof AvatarProjectService> {
  /** List the caller's projects. */
  list(
    request?: Request<typeof ListProjectsRequestSchema>,
    options?: CallOptions,
  ): Items<AvatarProject, ListProjectsResponse>;
}

/** Avatars: every RPC of `AvatarService`, and a list through all pages. */
export interface Avatars extends Client<typeof AvatarService> {
  /** List avatars. */
  list(request?: Request<typeof ListAvatarsRequestSchema>, options?: CallOptions): Items<Avatar, ListAvatarsResponse>;
}

/** Generations: every RPC of `GenerationService`, and a list through all pages. */
export interface Generations extends Client<typeof GenerationService> {
  /** List generations. */
  list(
    request?: Request<typeof ListGenerationsRequestSchema>,
    options?: CallOptions,
  ): Items<Generation, ListGenerationsResponse>;
}

/** Presets and persona examples: every RPC of `PresetService`, and lists through all pages. */
export interface Presets extends Client<typeof PresetService> {
  /** List presets. */
  list(request?: Request<typeof ListPresetsRequestSchema>, options?: CallOptions): Items<AvatarPreset, ListPresetsResponse>;
  /** List persona examples. */
  personas(
    request?: Request<typeof ListPersonaExamplesRequestSchema>,
    options?: CallOptions,
  ): Items<PersonaExample, ListPersonaExamplesResponse>;
}

/** Uses of avatars: every RPC of `UsageService`, and lists through all pages. */
export interface Usage extends Client<typeof UsageService> {
  /** List the uses of an avatar. */
  list(request: Request<typeof ListUsageRequestSchema>, options?: CallOptions): Items<UsageRecord, ListUsageResponse>;
  /** Sum the uses of an avatar by app. */
  byApp(
    request: Request<typeof SummarizeUsageRequestSchema>,
    options?: CallOptions,
  ): Items<AppUsageSummary, SummarizeUsageResponse>;
}

/** Operations, for operators: every RPC of `OperationsService`, and lists through all pages. */
export interface Operations extends Client<typeof OperationsService> {
  /** List the workers. */
  workers(
    request?: Request<typeof ListWorkersRequestSchema>,
    options?: CallOptions,
  ): Items<Worker, ListWorkersResponse>;
  /** List the users. */
  users(request?: Request<typeof ListUsersRequestSchema>, options?: CallOptions): Items<UserActivity, ListUsersResponse>;
}

/**
 * A typed client of Avatar Creator.
 *
 * @example
 * const client = new AvatarCreator({ token });
 * const { generation } = await client.generations.createGeneration({ projectId, prompt: "calm woman" });
 * for await (const state of client.watch(generation!.id)) console.log(state.progressPercent);
 */
export class AvatarCreator {
  /** The connection, for functions of this package that take one. */
  readonly connection: Connection;
  readonly projects: Projects;
  readonly avatars: Avatars;
  readonly generations: Generations;
  readonly presets: Presets;
  readonly usage: Usage;
  readonly operations: Operations;

  /**
   * Create a client. Nothing is sent before the first call.
   *
   * @throws TypeError: there is no `baseUrl` and no `transport`, outside a browser.
   */
  constructor(options: ConnectionOptions) {
    const connection = connect(options);
    const transport = withRetries(connection);
    this.connection = connection;
    this.projects = service<typeof AvatarProjectService, Projects>(AvatarProjectService, transport, {
      list: (request = {}, options) =>
        items(connection, AvatarProjectService.method.listProjects, "projects", request, options),
    });
    this.avatars = service<typeof AvatarService, Avatars>(AvatarService, transport, {
      list: (request = {}, options) =>
        items(connection, AvatarService.method.listAvatars, "avatars", request, options),
    });
    this.generations = service<typeof GenerationService, Generations>(GenerationService, transport, {
      list: (request = {}, options) =>
        items(connection, GenerationService.method.listGenerations, "generations", request, options),
    });
    this.presets = service<typeof PresetService, Presets>(PresetService, transport, {
      list: (request = {}, options) => items(connection, PresetService.method.listPresets, "presets", request, options),
      personas: (request = {}, options) =>
        items(connection, PresetService.method.listPersonaExamples, "personaExamples", request, options),
    });
    this.usage = service<typeof UsageService, Usage>(UsageService, transport, {
      list: (request, options) => items(connection, UsageService.method.listUsage, "usages", request, options),
      byApp: (request, options) => items(connection, UsageService.method.summarizeUsage, "apps", request, options),
    });
    this.operations = service<typeof OperationsService, Operations>(OperationsService, transport, {
      workers: (request = {}, options) =>
        items(connection, OperationsService.method.listWorkers, "workers", request, options),
      users: (request = {}, options) =>
        items(connection, OperationsService.method.listUsers, "users", request, options),
    });
  }

  /** Watch generations; see the function `watch`. */
  watch(selection: WatchSelection, options?: WatchOptions): Watch {
    return watch(this.connection, selection, options);
  }

  /** Upload a picture, and return its avatar; see the function `upload`. */
  upload(projectId: string, picture: Blob, options?: UploadOptions): Promise<Avatar> {
    return upload(this.connection, projectId, picture, options);
  }

  /** Download a picture of an avatar; see the function `download`. */
  download(avatarId: string, options?: DownloadOptions): Promise<Blob> {
    return download(this.connection, avatarId, options);
  }
}

function service<S extends DescService, C extends Client<S>>(
  description: S,
  transport: Transport,
  lists: Omit<C, keyof Client<S>>,
): C {
  return Object.assign(createClient(description, transport), lists) as unknown as C;
}
