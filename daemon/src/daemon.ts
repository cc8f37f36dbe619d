// SPDX-License-Identifier: GPL-3.0-or-later
// persistd: the core with its shells around it.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { AdminDesk } from './admin-desk.js';
import { now, readBootId } from './clock.js';
import { Complaints } from './complaints.js';
import { Core, type Displaced } from './core/core.js';
import type { Effect } from './core/effects.js';
import type { Handle } from './core/handle.js';
import { timeText } from './core/text.js';
import { adminEndpoint } from './endpoints/admin.js';
import type { RouterEndpoint } from './endpoints/router.js';
import { smbdEndpoint } from './endpoints/smbd.js';
import { WatchEndpoint } from './endpoints/watch.js';
import { HostDurability } from './host-durability.js';
import { ImportDesk } from './import-desk.js';
import { logEvent } from './journal.js';
import { KeeperClient } from './keeper/client.js';
import { keeperLineage } from './keeper/lineage.js';
import { Performer } from './performer.js';
import { isAlive, Servers } from './servers.js';
import type { WatchEventName } from './shared/admin.js';
import { LmdbStore } from './store/lmdb-store.js';
import { SteadyStore, type StoreListener } from './store/steady-store.js';
import type { TakeoverAnswer, TakeoverBody } from './wire/smbd.js';

const SERVER_CHECK_MS = 2_000;

export interface DaemonOptions {
  readonly runDirectory: string;
  readonly storeDirectory: string;
  readonly log: Logger;
}

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #core = new Core();
  readonly #servers = new Servers();
  readonly #complaints: Complaints;
  readonly #store: SteadyStore;
  readonly #watch = new WatchEndpoint();
  readonly #keeper: KeeperClient;
  readonly #performer: Performer;
  readonly #durability: HostDurability;
  readonly #imports: ImportDesk;
  readonly #smbd: RouterEndpoint;
  readonly #admin: RouterEndpoint;
  #serverCheck: NodeJS.Timeout | null = null;

  /** Throws StoreError. */
  constructor(options: DaemonOptions) {
    this.#options = options;
    const { log, runDirectory, storeDirectory } = options;
    this.#complaints = new Complaints(log);
    this.#store = new SteadyStore(
      new LmdbStore(storeDirectory, readBootId()),
      this.#makeStoreListener(),
    );
    this.#keeper = this.#makeKeeperClient(join(runDirectory, 'control.sock'));
    this.#performer = new Performer({
      core: this.#core,
      store: this.#store,
      log,
      drop: (id) => this.#keeper.drop(id),
      watch: (id) => this.#keeper.watch(id),
      describe: (id) => this.#keeper.describe(id),
      remake: (handle) => this.#keeper.remake(handle),
      settled: () => void this.#keeper.settled(),
      publish: (event) => this.#watch.publish(event),
    });
    this.#durability = new HostDurability(this.#core, this.#store, log);
    this.#imports = new ImportDesk({
      core: this.#core,
      keeper: this.#keeper,
      perform: (effects) => this.#perform(effects),
    });
    this.#smbd = this.#makeSmbdEndpoint();
    const desk = new AdminDesk({
      core: this.#core,
      performer: this.#performer,
      keeper: this.#keeper,
      servers: this.#servers,
      complaints: this.#complaints,
      store: this.#store,
      storePath: storeDirectory,
    });
    this.#admin = adminEndpoint(desk, (endpoint, why) => this.#complaints.bad(endpoint, why));
  }

  /** Resolves when the store is loaded and all endpoints are bound. */
  async start(): Promise<void> {
    const { log, runDirectory } = this.#options;
    // first, since what has expired meanwhile is published
    await this.#watch.bind(join(runDirectory, 'watch.sock'));
    const started = now();
    const restored = this.#store.load(started);
    this.#perform(this.#core.restore(started, restored));
    log.info({ handles: restored.length }, 'store loaded');
    await this.#admin.bind(join(runDirectory, 'admin.sock'));
    await this.#smbd.bind(join(runDirectory, 'smbd.sock'));
    this.#keeper.start();
    this.#serverCheck = setInterval(() => this.#checkServers(), SERVER_CHECK_MS);
  }

  /** Returns when the daemon is stopped. */
  async serve(): Promise<void> {
    await Promise.all([this.#smbd.serve(), this.#admin.serve(), this.#watch.serve()]);
  }

  /**
   * Resolves when everything is stored and no socket is open. False: the store does
   * not answer, and the process will not end by itself.
   */
  async stop(): Promise<boolean> {
    if (this.#serverCheck !== null) clearInterval(this.#serverCheck);
    this.#smbd.close();
    this.#admin.close();
    this.#keeper.stop();
    await this.#performer.stop();
    this.#watch.close();
    return this.#store.close();
  }

  #perform(effects: readonly Effect[]): Promise<void> {
    return this.#performer.perform(effects).committed;
  }

  #makeStoreListener(): StoreListener {
    const { log, storeDirectory } = this.#options;
    const tell = (event: WatchEventName, reason: string) => {
      const at = timeText(now().realtimeNs);
      this.#watch.publish({ at, event, reason });
      logEvent(log, { at, event, reason });
    };
    return {
      failing: ({ message, remedy }) =>
        tell(
          'store-failing',
          `the store in ${storeDirectory} cannot be written: ${message}. Handles stay ` +
            'resumable, but what happens to them from now on is known to this process ' +
            `only. Do not restart it. ${remedy} What is missing is then written by itself.`,
        ),
      back: (records) =>
        tell(
          'store-back',
          `the store in ${storeDirectory} can be written again and has everything; ` +
            `${records} records were missing`,
        ),
      lost: (records) =>
        log.error(
          { records },
          `the store in ${storeDirectory} could not be written to the end: the next persistd ` +
            'learns from fdkeeper and smbd what became of these handles, but not their new locks',
        ),
    };
  }

  #makeSmbdEndpoint(): RouterEndpoint {
    const { log } = this.#options;
    return smbdEndpoint({
      epoch: randomBytes(16),
      hello: (server, { moduleVersion, sambaVersion }) => {
        this.#servers.hello(server);
        log.debug({ smbd: String(server.pid), moduleVersion, sambaVersion }, 'hello');
      },
      events: (server, events, isFlushing) =>
        this.#durability.acknowledge(
          events,
          this.#performer.perform(this.#core.events(now(), server, events)),
          isFlushing,
        ),
      claim: (claim, answer) => {
        const ticket = this.#performer.ticket(answer);
        this.#perform(this.#core.claim(now(), { ...claim, ticket }));
      },
      arrive: (arrival) => this.#displace(() => this.#core.arrive(now(), arrival)),
      contend: (contention) => this.#displace(() => this.#core.contend(now(), contention)),
      import: (wanted) => this.#imports.answer(wanted),
      takeover: (takeover, answer) => void this.#takeOver(takeover, answer),
      bad: (endpoint, why) => this.#complaints.bad(endpoint, why),
    });
  }

  async #takeOver(takeover: TakeoverBody, answer: (answer: TakeoverAnswer) => void): Promise<void> {
    // as below
    await this.#keeper.info();
    const ticket = this.#performer.takeoverTicket(answer);
    this.#perform(this.#core.takeover(now(), { ...takeover, ticket }));
  }

  async #displace(decide: () => Displaced): Promise<readonly Handle[]> {
    // its answer comes behind every report of what happened before
    await this.#keeper.info();
    const { ended, effects } = decide();
    const { committed, drops } = this.#performer.perform(effects);
    // a level that is lost must stay so, whoever dies next
    await Promise.all([committed, ...drops.values()]);
    return ended;
  }

  #makeKeeperClient(path: string): KeeperClient {
    return new KeeperClient(path, {
      listStarted: () => {
        const lineage = keeperLineage(this.#options.runDirectory);
        this.#perform(this.#core.keeperListStarted(now(), lineage));
      },
      entry: (entry) => {
        if (entry.record === null) {
          this.#options.log.warn({ id: entry.id }, 'the keeper holds a record I cannot read');
        }
        this.#perform(this.#core.keeperEntry(now(), entry));
      },
      listEnd: () => {
        const dead = this.#core.connectedServers().filter(({ pid }) => !isAlive(pid));
        this.#perform(this.#core.keeperListEnd(now(), dead));
      },
      mounted: () => this.#perform(this.#core.mounted(now())),
      gone: (id) => this.#perform(this.#core.keeperGone(now(), id)),
      touched: (touch) => this.#perform(this.#core.touched(now(), touch)),
      lost: () => this.#perform(this.#core.keeperLost(now())),
      refused: (id, status) => {
        this.#options.log.warn({ id, status }, 'the keeper could not keep the descriptor');
      },
      bad: (why) => this.#complaints.bad('keeper', why),
    });
  }

  #checkServers(): void {
    for (const server of this.#core.unwatchedServers()) {
      if (!isAlive(server.pid)) this.#perform(this.#core.serverDied(now(), server));
    }
  }
}
