// SPDX-License-Identifier: GPL-3.0-or-later
/** A client with one connection, one session and, mostly, one share. */
import { EventEmitter } from 'node:events';
import { decodeBreak, LeaseBreak, type OplockBreak } from './breaks.js';
import { type CallOptions, Connection } from './connection.js';
import { Dialect, type DialectNumber } from './constants.js';
import type { OpenOptions } from './create.js';
import { newGuid } from './guid.js';
import { Inbox } from './inbox.js';
import { negotiate } from './negotiate.js';
import type { Open } from './open.js';
import type { Call } from './reply.js';
import { Session } from './session.js';
import { Tree } from './tree.js';

export interface ClientOptions {
  port: number;
  host?: string;
  /** Anonymous when left out. */
  user?: string;
  password?: string;
  domain?: string;
  share: string;
  /** Random unless given; the same one is needed to resume lease-backed handles. */
  clientGuid?: Buffer;
  dialect?: DialectNumber;
  /** Capability bits; leases, large MTU and persistent handles unless given. */
  capabilities?: number;
  previousSessionId?: bigint;
  requireSigning?: boolean;
  /** For each request that does not name its own; 20 s unless given. */
  timeoutMs?: number;
}

interface ClientEvents {
  oplockBreak: [OplockBreak];
  leaseBreak: [LeaseBreak];
}

export class Smb2Client extends EventEmitter<ClientEvents> {
  readonly clientGuid: Buffer;
  readonly connection: Connection;
  readonly session: Session;
  readonly tree: Tree;
  /** The breaks that came, also as events; none is acknowledged by itself. */
  readonly oplockBreaks = new Inbox<OplockBreak>('oplock break');
  readonly leaseBreaks = new Inbox<LeaseBreak>('lease break');

  private constructor(session: Session, tree: Tree, clientGuid: Buffer) {
    super();
    this.clientGuid = clientGuid;
    this.connection = session.connection;
    this.session = session;
    this.tree = tree;
    this.connection.onNotification = ({ body }) => {
      const broken = decodeBreak(body, (request) => this.tree.send(request));
      if (broken instanceof LeaseBreak) {
        this.leaseBreaks.put(broken);
        this.emit('leaseBreak', broken);
      } else {
        this.oplockBreaks.put(broken);
        this.emit('oplockBreak', broken);
      }
    };
  }

  /** Connects, negotiates, logs on and connects the share, or throws what went wrong. */
  static async connect(options: ClientOptions): Promise<Smb2Client> {
    const { clientGuid = newGuid(), dialect = Dialect.SMB_3_0_2, user, password = '' } = options;
    const connection = await Connection.open(options);
    try {
      const negotiated = await negotiate(connection, { ...options, dialect, clientGuid });
      const { domain = '' } = options;
      const credentials = user === undefined ? {} : { credentials: { user, password, domain } };
      const session = await Session.setup(connection, negotiated, { ...options, ...credentials });
      const tree = await Tree.connect(session, options.share).ok();
      return new Smb2Client(session, tree, clientGuid);
    } catch (error) {
      await connection.transport.drop();
      throw error;
    }
  }

  /** Resolves when the connection is gone, whoever ended it. */
  get closed(): Promise<void> {
    return this.connection.transport.closed;
  }

  open(path: string, options: OpenOptions = {}, call: CallOptions = {}): Call<Open> {
    return this.tree.open(path, options, call);
  }

  reconnect(old: Open, overrides: OpenOptions = {}, call: CallOptions = {}): Call<Open> {
    return this.tree.reconnect(old, overrides, call);
  }

  treeConnect(share: string): Call<Tree> {
    return Tree.connect(this.session, share);
  }

  echo(): Call<void> {
    return this.session.echo();
  }

  /** Resets the connection without a goodbye, as when the network fails. */
  drop(): Promise<void> {
    return this.connection.transport.drop();
  }

  /** Neither sends nor receives, but keeps the connection; `heal` ends it. */
  partition(): void {
    this.connection.transport.partition();
  }

  heal(): void {
    this.connection.transport.heal();
  }

  /** Logs off, so that the server closes all opens, and ends the connection. */
  async logoff(): Promise<void> {
    await this.session.logoff().ok();
    await this.drop();
  }
}
