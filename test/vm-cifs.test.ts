// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * A real client: Linux's own cifs, in a virtual machine, writes lines to files that it keeps
 * open while network, smbd and persistd fail. No line is lost or doubled, and no error met.
 */
import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { findKernel, Machine, TOP } from './lib/vm/machine.js';
import { Wire } from './lib/vm/wire.js';

const test = suite('a real client');
const kernel = findKernel();
/** What the machine takes for the address of the server, and there is nothing else. */
const SERVER = '10.0.2.100';
/** For what takes a client some of its own timeouts, in a slow machine. */
const BOUND_MS = 240_000;

/** By share: with what it is mounted. */
const MOUNTS = { durable: 'nosharesock', host: 'nosharesock,resilienthandles' };
type Mount = keyof typeof MOUNTS;
const mounts = Object.keys(MOUNTS) as Mount[];

/** With what cifs asks the kernel for by name. */
const MODULES =
  'md5 hmac cmac ccm gcm ghash_generic ctr ecb aes_generic sha256_generic sha512_generic nls_utf8 cifs';

class Client {
  readonly #samba: DevSamba;
  readonly #machine: Machine;
  readonly #wire: Wire;

  private constructor(samba: DevSamba, machine: Machine, wire: Wire) {
    this.#samba = samba;
    this.#machine = machine;
    this.#wire = wire;
  }

  static async boot(samba: DevSamba, kernelDir: string, dir: string): Promise<Client> {
    const wire = await Wire.to(samba.status().port);
    const relay = join(TOP, 'build/test/fixtures/relay.js');
    const machine = await Machine.boot({
      kernelDir,
      dir,
      init: 'client',
      modules: MODULES.split(' '),
      network: `guestfwd=tcp:${SERVER}:445-cmd:${process.execPath} ${relay} ${wire.port}`,
    });
    return new Client(samba, machine, wire);
  }

  async end(): Promise<void> {
    await this.#machine.powerOff();
    this.#wire.close();
  }

  /** Mounts a share and begins to write numbered lines to a file of it. */
  async begin(mount: Mount): Promise<void> {
    const { user, password } = this.#samba.status();
    const login = `ip=${SERVER},username=${user},password=${password}`;
    const options = `${login},vers=3.1.1,hard,echo_interval=3,${MOUNTS[mount]}`;
    await this.#machine.sh(`mkdir -p /run/${mount}`);
    await this.#machine.sh(`mount -i -t cifs //${SERVER}/${mount} /run/${mount} -o ${options}`);
    const write = `perl ${TOP}/test/fixtures/vm/write-lines.pl /run/${mount}/lines /run/stop`;
    await this.#machine.sh(`(${write}; echo "status $?") >/run/${mount}.result 2>&1 &`);
  }

  /** Returns when the writers have ended without an error. */
  async finish(): Promise<void> {
    await this.#machine.sh('touch /run/stop');
    for (const mount of mounts) {
      const result = `/run/${mount}.result`;
      const wait = `until grep -q status ${result}; do sleep 0.1; done; cat ${result}`;
      const said = await this.#machine.sh(wait);
      assert.match(said, /^status 0$/m, mount);
      console.log(`  ${mount}: ${said.split('\n')[0]}`);
      await this.#machine.sh(`umount /run/${mount}`);
    }
  }

  cutConnections(): void {
    this.#wire.cut();
  }

  /** Nothing comes through, until the client has noticed. */
  async silence(): Promise<void> {
    const count = `dmesg | grep -c 'has not responded' || :`;
    const before = Number(await this.#machine.sh(count));
    await this.#machine.monitor('set_link net off');
    for (const end = Date.now() + BOUND_MS; ; await delay(1000)) {
      if (Number(await this.#machine.sh(count)) >= before + mounts.length) break;
      if (Date.now() > end) throw new Error('the client does not notice that nothing comes');
    }
    await this.#machine.monitor('set_link net on');
  }

  /** The lines that the server has. */
  lines(mount: Mount): string[] {
    const path = this.#samba.sharePath(mount, 'lines');
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
  }

  /** Until each of the files has some more lines. */
  async goesOn(): Promise<void> {
    const before = mounts.map((mount) => this.lines(mount).length);
    await this.#samba.until(
      'more lines',
      () => mounts.every((mount, i) => this.lines(mount).length >= (before[i] as number) + 5),
      BOUND_MS,
    );
  }

  /** What the kernel asked for, for people. */
  asked(): string {
    return [...this.#wire.asked].map(([name, count]) => `${name} ${count}`).join(', ');
  }

  diagnosis(): Promise<string> {
    return this.#machine.sh('cat /run/*.result; dmesg | tail -n 40; cat /proc/fs/cifs/DebugData');
  }
}

/** What the kernel got: one line for each handle that is not at its end. */
function got(samba: DevSamba): string {
  return samba
    .handles('--all')
    .filter(({ state }) => state === 'connected' || state === 'disconnected')
    .sort((a, b) => a.share.localeCompare(b.share))
    .map(({ share, kind, durableVersion, oplock, lease_state, resumes, durability }) => {
      const level = lease_state ? `lease ${lease_state}` : oplock;
      return `${share}: ${kind} (v${durableVersion}), ${level}, ${durability}, resumed ${resumes} times`;
    })
    .join('; ');
}

async function faultsTest(samba: DevSamba, client: Client): Promise<void> {
  const faults: Record<string, () => unknown> = {
    'no fault': () => undefined,
    'connections cut': () => client.cutConnections(),
    'network silent': () => client.silence(),
    'all of smbd killed': async () => {
      await samba.verb('kill', 'smbd');
      await samba.verb('restart', 'smbd');
    },
    'smbd restarted': () => samba.verb('restart', 'smbd'),
    'persistd killed': async () => {
      await samba.verb('kill', 'persistd');
      await client.goesOn();
      await samba.verb('restart', 'persistd');
    },
  };
  for (const mount of mounts) await client.begin(mount);
  await client.goesOn();
  for (const [name, happens] of Object.entries(faults)) {
    await happens();
    await client.goesOn();
    console.log(`  ${name}: ${got(samba)}`);
  }
  console.log(`  create contexts sent by the client: ${client.asked()}`);
  await client.finish();
  for (const mount of mounts) {
    const lines = client.lines(mount);
    assert.deepEqual(
      lines,
      lines.map((_, i) => `line ${i}`),
    );
    console.log(`  ${mount}: ${lines.length} lines`);
  }
  await samba.until('no handle left', () => got(samba) === '' && samba.kept() === 0, BOUND_MS);
}

const name = 'cifs: no error and no line lost, whatever fails';
if ('why' in kernel) {
  console.log(`skipped, there are no virtual machines here: ${kernel.why}`);
  test.skip(name, () => undefined);
} else {
  test(name, async () => {
    const samba = await DevSamba.up();
    const share = ['vfs objects = persistent', 'posix locking = no'];
    await samba.addShare('host', ...share, 'persistent:durability = host');
    const dir = mkdtempSync(join(tmpdir(), 'vm.'));
    const client = await Client.boot(samba, kernel.dir, dir);
    try {
      await faultsTest(samba, client);
    } catch (error) {
      console.log(await client.diagnosis());
      throw error;
    } finally {
      await client.end();
      rmSync(dir, { recursive: true });
      await samba.down();
    }
  });
}
test.run();
