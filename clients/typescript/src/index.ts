/** Typed client of Avatar Creator, for browsers and Node. */

export { create, type MessageInitShape } from "@bufbuild/protobuf";
export { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
export { Code, type Transport } from "@connectrpc/connect";
export { call, type CallOptions } from "./calls.js";
export {
  AvatarCreator,
  type Avatars,
  type Generations,
  type Operations,
  type Presets,
  type Projects,
  type Usage,
} from "./client.js";
export { connect, type Connection, type ConnectionOptions, type ReconnectEvent, type Token } from "./connection.js";
export { download, type DownloadOptions } from "./download.js";
export {
  AvatarCreatorError,
  errorOf,
  hasReason,
  isAborted,
  type ErrorReasonName,
  type FieldViolation,
  type QuotaViolation,
  type Resource,
} from "./errors.js";
export { items, type Items } from "./pages.js";
export type { Backoff, Clock } from "./retries.js";
export { upload, type UploadOptions } from "./upload.js";
export { hasEnded, watch, type KnownRevisions, type Watch, type WatchOptions, type WatchSelection } from "./watch.js";

// Messages, enums and services of the contract.
export * from "../gen/avatar_creator/v1/attributes_pb.js";
export * from "../gen/avatar_creator/v1/avatar_pb.js";
export * from "../gen/avatar_creator/v1/avatar_project_pb.js";
export * from "../gen/avatar_creator/v1/avatar_project_service_pb.js";
export * from "../gen/avatar_creator/v1/avatar_service_pb.js";
export * from "../gen/avatar_creator/v1/error_reason_pb.js";
export * from "../gen/avatar_creator/v1/generation_pb.js";
export * from "../gen/avatar_creator/v1/generation_service_pb.js";
export * from "../gen/avatar_creator/v1/operations_pb.js";
export * from "../gen/avatar_creator/v1/operations_service_pb.js";
export * from "../gen/avatar_creator/v1/options_pb.js";
export * from "../gen/avatar_creator/v1/persona_pb.js";
export * from "../gen/avatar_creator/v1/preset_pb.js";
export * from "../gen/avatar_creator/v1/preset_service_pb.js";
export * from "../gen/avatar_creator/v1/usage_pb.js";
export * from "../gen/avatar_creator/v1/usage_service_pb.js";
