/** A TCP proxy that a test can cut. */

import { once } from "node:events";
import net from "node:net";

export class Proxy implements AsyncDisposable {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();

  private constructor(server: net.Server) {
    this.#server = server;
  }

  /** Listen, and forward to the host and port of `url`. */
  static async to(url: string): Promise<Proxy> {
    const { hostname, port } = new URL(url);
    const server = net.createServer();
    const proxy = new Proxy(server);
    server.on("connection", (client) => {
      const service = net.connect(Number(port), hostname);
      proxy.#keep(client, service);
      proxy.#keep(service, client);
      client.pipe(service).pipe(client);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return proxy;
  }

  /** URL of the server through this proxy. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
  }

  /** Close the existing connections. New connections work. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.cut();
    await once(this.#server, "close");
  }

  #keep(socket: net.Socket, other: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => other.destroy());
    socket.on("close", () => {
      this.#sockets.delete(socket);
      other.destroy();
    });
  }
}
