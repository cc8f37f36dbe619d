// SPDX-License-Identifier: GPL-3.0-or-later
import { outages } from './lib/outages.js';

outages('keeper');
