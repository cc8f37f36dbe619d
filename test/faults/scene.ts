// SPDX-License-Identifier: GPL-3.0-or-later
/** What a scenario has to work with. */
import { Disposition, type Open, type OpenOptions, type Smb2Client } from '../lib/smb2/index.js';
import type { Random } from '../soak/random.js';
import { answerOf, type Bench, type Pids } from './bench.js';
import type { Party, PartyWish } from './party.js';

export class Scene {
  readonly bench: Bench;
  readonly random: Random;
  readonly party: Party;
  readonly point: string;
  /** Whether the owner was away before anybody was killed. */
  wasAway = false;
  /** Its client has tried to resume while somebody was killed. */
  hasTried = false;
  /** Who ran when the point was armed. */
  armedFor: Pids = { keeper: null, persistd: null };

  constructor(bench: Bench, random: Random, party: Party, point: string) {
    this.bench = bench;
    this.random = random;
    this.party = party;
    this.point = point;
  }

  /** From now on who comes to the point dies. */
  arm(): void {
    this.bench.faults.kill(this.point);
    this.armedFor = this.bench.pids();
  }

  async leave(): Promise<void> {
    await this.party.drop();
    this.wasAway = true;
  }

  other(share: string = this.party.wish.share): Promise<Smb2Client> {
    return this.bench.connect(share);
  }

  /** Another client opens the file; undefined: no answer. */
  async otherOpens(other: Smb2Client, how: OpenOptions = {}) {
    return answerOf<Open>(other.open(this.party.name, { disposition: Disposition.OPEN, ...how }));
  }

  /** As the client does it, whatever comes of it; nobody may be there to answer. */
  async tryToResume(): Promise<void> {
    const { party, bench } = this;
    this.hasTried = true;
    try {
      await party.comeBack();
    } catch {
      return;
    }
    for (const held of party.handles.filter(({ end }) => end === null)) {
      const before = bench.pids();
      const reply = await answerOf<Open>(party.client.reconnect(held.open));
      const after = bench.pids();
      const same = before.keeper === after.keeper && before.persistd === after.persistd;
      held.isTooEarly = reply !== undefined && (!same || !before.keeper || !before.persistd);
      if (reply?.value) held.open = reply.value;
    }
  }
}

export interface Scenario {
  name: string;
  /** The points that somebody comes to. */
  points: RegExp;
  wish?: Partial<PartyWish>;
  shares?: readonly PartyWish['share'][];
  kinds?: readonly PartyWish['kind'][];
  /** Nobody else has to do with the file: the oplock or lease stays. */
  isAlone: boolean;
  run(scene: Scene): Promise<void>;
}
