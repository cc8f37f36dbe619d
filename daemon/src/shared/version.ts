// SPDX-License-Identifier: GPL-3.0-or-later
// The version in package.json, which lies above both the sources and the build.

import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';

const packageJson = z.object({ version: z.string() });

function findPackageJson(): URL {
  let url = new URL('package.json', import.meta.url);
  while (!existsSync(url) && url.pathname !== '/package.json') {
    url = new URL('../package.json', url);
  }
  return url;
}

export const VERSION = packageJson.parse(
  JSON.parse(readFileSync(findPackageJson(), 'utf8')),
).version;
