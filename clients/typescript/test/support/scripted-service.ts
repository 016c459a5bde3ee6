/** A service whose answers the test writes. It speaks Connect, gRPC-Web and gRPC. */

import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import {
  AvatarCreator,
  AvatarProjectService,
  AvatarService,
  GenerationService,
  type ConnectionOptions,
} from "avatar-creator";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import type { Protocol } from "./service.ts";

export interface Answers {
  projects?: Partial<ServiceImpl<typeof AvatarProjectService>>;
  avatars?: Partial<ServiceImpl<typeof AvatarService>>;
  generations?: Partial<ServiceImpl<typeof GenerationService>>;
}

export class ScriptedService implements AsyncDisposable {
  readonly #servers: readonly (Server | http2.Http2Server)[];
  readonly #sessions = new Set<http2.ServerHttp2Session>();

  private constructor(servers: readonly (Server | http2.Http2Server)[]) {
    this.#servers = servers;
  }

  /** Start a service with these answers. All other calls are UNIMPLEMENTED. */
  static async start(answers: Answers): Promise<ScriptedService> {
    const routes = (router: ConnectRouter) => {
      router.service(AvatarProjectService, answers.projects ?? {});
      router.service(AvatarService, answers.avatars ?? {});
      router.service(GenerationService, answers.generations ?? {});
    };
    const handle = connectNodeAdapter({ routes });
    const web = http.createServer(handle);
    const grpc = http2.createServer(handle);
    const service = new ScriptedService([web, grpc]);
    grpc.on("session", (session) => service.#sessions.add(session));
    for (const server of [web, grpc]) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
    }
    return service;
  }

  /** Return the address of the port that speaks this protocol. */
  urlOf(protocol: Protocol): string {
    const server = this.#servers[protocol === "grpc" ? 1 : 0];
    return `http://127.0.0.1:${(server?.address() as AddressInfo).port}`;
  }

  /** Return a client that does not wait long between its attempts. */
  client(protocol: Protocol, options: Partial<ConnectionOptions> = {}): AvatarCreator {
    const baseUrl = this.urlOf(protocol);
    const given = { token: "secret", backoff: { initialMs: 1, maximumMs: 1 }, ...options };
    switch (protocol) {
      case "connect":
        return new AvatarCreator({ baseUrl, ...given });
      case "grpc-web":
        return new AvatarCreator({ baseUrl, transport: createGrpcWebTransport({ baseUrl }), ...given });
      case "grpc":
        return new AvatarCreator({ transport: createGrpcTransport({ baseUrl }), ...given });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    for (const server of this.#servers) {
      if (server instanceof http.Server) server.closeAllConnections();
      server.close();
      await once(server, "close");
    }
  }
}

/** Return the error of a call that the service refuses for this reason. */
export function refusal(code: Code, reason: string, retryAfterSeconds?: number): ConnectError {
  const details: ConstructorParameters<typeof ConnectError>[3] = [
    { desc: ErrorInfoSchema, value: { reason, domain: "avatar-creator", metadata: { most: "2" } } },
  ];
  if (retryAfterSeconds !== undefined) {
    const retryDelay = { seconds: BigInt(Math.floor(retryAfterSeconds)), nanos: (retryAfterSeconds % 1) * 1e9 };
    details.push({ desc: RetryInfoSchema, value: { retryDelay } });
  }
  return new ConnectError("not now", code, undefined, details);
}

/** Return a function that throws or returns these outcomes, one for each call. */
export function inTurn<T>(...outcomes: (T | ConnectError)[]): () => Exclude<T, ConnectError> {
  return () => {
    const outcome = outcomes.shift();
    if (outcome === undefined) throw new ConnectError("one call too many", Code.Internal);
    if (outcome instanceof ConnectError) throw outcome;
    return outcome as Exclude<T, ConnectError>;
  };
}
