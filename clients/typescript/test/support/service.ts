/** The running service that the tests call, and the ways to call it. */

import { createHmac, randomUUID } from "node:crypto";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { AvatarCreator, type ConnectionOptions } from "avatar-creator";

export type Protocol = "connect" | "grpc-web" | "grpc";

const GRPC_URL = setting("AVATAR_CREATOR_GRPC_URL");
const WEB_URL = setting("AVATAR_CREATOR_WEB_URL");
const JWT_SECRET = setting("JWT_SECRET");

export const PROTOCOLS: readonly Protocol[] = WEB_URL ? ["connect", "grpc-web", "grpc"] : ["grpc"];

/** Return the address of the port that speaks this protocol. */
export function urlOf(protocol: Protocol): string {
  return protocol === "grpc" ? GRPC_URL : WEB_URL;
}

/** Return a client of a user of this test only. */
export function clientOf(
  protocol: Protocol,
  options: Partial<ConnectionOptions> & { url?: string } = {},
): AvatarCreator {
  const { url = urlOf(protocol), token = tokenOf(randomUUID()), ...others } = options;
  switch (protocol) {
    case "connect":
      return new AvatarCreator({ baseUrl: url, token, ...others });
    case "grpc-web":
      return new AvatarCreator({ baseUrl: url, transport: createGrpcWebTransport({ baseUrl: url }), token, ...others });
    case "grpc":
      return new AvatarCreator({ transport: createGrpcTransport({ baseUrl: url }), token, ...others });
  }
}

/** Return a token of a user that is valid for some seconds. */
export function tokenOf(user: string, { seconds = 3600, role = "" } = {}): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: user, iat: now, exp: now + seconds, ...(role && { role }) };
  const content = [{ alg: "HS256", typ: "JWT" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${content}.${createHmac("sha256", JWT_SECRET).update(content).digest("base64url")}`;
}

function setting(name: string): string {
  return process.env[name] ?? "";
}
