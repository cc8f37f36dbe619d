// SPDX-License-Identifier: GPL-3.0-or-later
/** A virtual machine that serves SMB with keeper and persistd, whose power can be cut. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HandleView } from '../../../daemon/src/shared/handle-view.js';
import { type ClientOptions, Smb2Client } from '../smb2/index.js';
import { Disk } from './disk.js';
import { Machine, TOP } from './machine.js';

export type FileSystem = 'ext4' | 'xfs';

const PASSWORD = 'persist';
/** A request may meet a machine that compiles what it runs. */
const REQUEST_BOUND_MS = 120_000;
/** How long handles may be away: far longer than a start of the machine takes. */
const TIMEOUT_S = 3600;

const CONF = `
[global]
	server role = standalone server
	netbios name = VM
	disable netbios = yes
	smb ports = 445
	map to guest = never
	passdb backend = tdbsam:/srv/samba/private/passdb.tdb
	private directory = /srv/samba/private
	state directory = /srv/samba/state
	cache directory = /srv/samba/cache
	lock directory = /run/samba
	pid directory = /run/samba
	ncalrpc dir = /run/samba/ncalrpc
	logging = file
	log file = /dev/console
	max log size = 0
	load printers = no
	printcap name = /dev/null
	disable spoolss = yes
[host]
	path = /srv/share
	read only = no
	posix locking = no
	vfs objects = persistent
	persistent:durability = host
	persistent:durable timeout = ${TIMEOUT_S}
	persistent:resilient timeout = ${TIMEOUT_S}
	persistent:resilient timeout max = ${TIMEOUT_S}
`;

export class VmServer {
  readonly #kernelDir: string;
  readonly #fs: FileSystem;
  readonly #dir: string;
  readonly #port: number;
  readonly #disk: Disk;
  readonly #otherDisk: Disk;
  #machine: Machine | undefined;
  #boots = 0;

  private constructor(kernelDir: string, fs: FileSystem, port: number) {
    this.#kernelDir = kernelDir;
    this.#fs = fs;
    this.#port = port;
    this.#dir = mkdtempSync(join(tmpdir(), 'vm.'));
    this.#disk = new Disk(join(this.#dir, 'disk'), fs);
    this.#otherDisk = new Disk(join(this.#dir, 'other'));
  }

  static async up(kernelDir: string, fs: FileSystem): Promise<VmServer> {
    const server = new VmServer(kernelDir, fs, await freePort());
    const modules = String(execFileSync('/usr/sbin/smbd', ['-b'])).match(/MODULESDIR: (.*)/)?.[1];
    const settings = { TOP, FS: fs, MODULES: modules, PASSWORD };
    const lines = Object.entries(settings).map(([name, value]) => `${name}='${value}'\n`);
    writeFileSync(join(server.#dir, 'settings'), lines.join(''));
    writeFileSync(join(server.#dir, 'smb.conf'), CONF);
    await server.powerOn();
    return server;
  }

  /** The disk has another device number at each second boot. */
  async powerOn(): Promise<void> {
    const disks = this.#boots++ % 2 === 0 ? [this.#disk] : [this.#otherDisk, this.#disk];
    this.#machine = await Machine.boot({
      kernelDir: this.#kernelDir,
      dir: this.#dir,
      init: 'server',
      modules: [this.#fs],
      network: `hostfwd=tcp:127.0.0.1:${this.#port}-:445`,
      disks,
      countsInstructions: true,
    });
  }

  async powerOff(): Promise<void> {
    await this.#machine?.powerOff();
  }

  async down(): Promise<void> {
    await this.powerOff();
    rmSync(this.#dir, { recursive: true });
  }

  sh(command: string): Promise<string> {
    return (this.#machine as Machine).sh(command);
  }

  /** What keeper, persistd and smbd wrote since the last start. */
  log(): string {
    return (this.#machine as Machine).console();
  }

  /** Each handle that persistd knows, ended or not. Takes seconds. */
  async handles(): Promise<HandleView[]> {
    const persistctl = `node ${TOP}/build/daemon/cli/main.js --run-dir /run/persistd`;
    const out = await this.sh(`${persistctl} list --all --json`);
    return JSON.parse(out).handles;
  }

  connect(options: Partial<ClientOptions> = {}): Promise<Smb2Client> {
    const login = { user: 'smbpersist', password: PASSWORD, share: 'host' };
    const timeoutMs = REQUEST_BOUND_MS;
    return Smb2Client.connect({ port: this.#port, ...login, timeoutMs, ...options });
  }

  back(old: Smb2Client): Promise<Smb2Client> {
    return this.connect({ clientGuid: old.clientGuid, previousSessionId: old.session.id });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
