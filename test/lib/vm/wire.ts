// SPDX-License-Identifier: GPL-3.0-or-later
/** The wire between a machine and an smbd of the host: it can be cut, and is read. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** The create contexts of MS-SMB2 2.2.13.2 that concern us, as they stand in a message. */
const CONTEXTS = ['DHnQ', 'DHnC', 'DH2Q', 'DH2C', 'RqLs', 'QFid'];

export class Wire {
  /** How often a client sent each create context. */
  readonly asked = new Map<string, number>();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(smbdPort: number) {
    this.#server = createServer((client) => {
      const smbd = connect(smbdPort, '127.0.0.1');
      for (const [from, to] of [
        [client, smbd],
        [smbd, client],
      ] as const) {
        this.#sockets.add(from);
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
      client.on('data', (data: Buffer) => this.#read(data));
    });
  }

  static async to(smbdPort: number): Promise<Wire> {
    const wire = new Wire(smbdPort);
    // a test that fails before it closes the wire ends all the same
    wire.#server.listen(0, '127.0.0.1').unref();
    await once(wire.#server, 'listening');
    return wire;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The connections end; the next ones are let through. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #read(data: Buffer): void {
    for (const name of CONTEXTS) {
      for (let at = data.indexOf(name); at !== -1; at = data.indexOf(name, at + 4)) {
        this.asked.set(name, (this.asked.get(name) ?? 0) + 1);
      }
    }
  }
}
