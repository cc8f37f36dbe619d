// SPDX-License-Identifier: GPL-3.0-or-later
/** Numbers of MS-SMB2 2.2 and MS-FSCC, under the names that the documents use. */

export const Command = {
  NEGOTIATE: 0,
  SESSION_SETUP: 1,
  LOGOFF: 2,
  TREE_CONNECT: 3,
  TREE_DISCONNECT: 4,
  CREATE: 5,
  CLOSE: 6,
  FLUSH: 7,
  READ: 8,
  WRITE: 9,
  LOCK: 10,
  IOCTL: 11,
  CANCEL: 12,
  ECHO: 13,
  QUERY_DIRECTORY: 14,
  QUERY_INFO: 16,
  SET_INFO: 17,
  OPLOCK_BREAK: 18,
} as const;
export type CommandName = keyof typeof Command;

export const HeaderFlag = {
  SERVER_TO_REDIR: 0x1,
  ASYNC: 0x2,
  SIGNED: 0x8,
  REPLAY: 0x20000000,
} as const;

export const Dialect = { SMB_2_1: 0x0210, SMB_3_0_2: 0x0302, SMB_3_1_1: 0x0311 } as const;
export type DialectNumber = (typeof Dialect)[keyof typeof Dialect];

export const Capability = {
  DFS: 0x1,
  LEASING: 0x2,
  LARGE_MTU: 0x4,
  MULTI_CHANNEL: 0x8,
  PERSISTENT_HANDLES: 0x10,
  DIRECTORY_LEASING: 0x20,
  ENCRYPTION: 0x40,
} as const;

export const SecurityMode = { SIGNING_ENABLED: 1, SIGNING_REQUIRED: 2 } as const;
export const SessionFlag = { IS_GUEST: 1, IS_NULL: 2, ENCRYPT_DATA: 4 } as const;
export const ShareCapability = {
  DFS: 0x8,
  CONTINUOUS_AVAILABILITY: 0x10,
  SCALEOUT: 0x20,
  CLUSTER: 0x40,
  ASYMMETRIC: 0x80,
} as const;

export const Access = {
  READ_DATA: 0x1,
  WRITE_DATA: 0x2,
  APPEND_DATA: 0x4,
  READ_EA: 0x8,
  WRITE_EA: 0x10,
  EXECUTE: 0x20,
  READ_ATTRIBUTES: 0x80,
  WRITE_ATTRIBUTES: 0x100,
  DELETE: 0x10000,
  READ_CONTROL: 0x20000,
  SYNCHRONIZE: 0x100000,
  MAXIMUM_ALLOWED: 0x2000000,
  /** FILE_GENERIC_READ, _WRITE, and both with DELETE: what applications ask for. */
  READ: 0x120089,
  WRITE: 0x120116,
  READ_WRITE: 0x12019f,
  READ_WRITE_DELETE: 0x13019f,
} as const;

export const Share = { NONE: 0, READ: 1, WRITE: 2, DELETE: 4, READ_WRITE: 3, ALL: 7 } as const;

export const Disposition = {
  SUPERSEDE: 0,
  OPEN: 1,
  CREATE: 2,
  OPEN_IF: 3,
  OVERWRITE: 4,
  OVERWRITE_IF: 5,
} as const;

export const CreateOption = {
  DIRECTORY_FILE: 0x1,
  WRITE_THROUGH: 0x2,
  SEQUENTIAL_ONLY: 0x4,
  NON_DIRECTORY_FILE: 0x40,
  DELETE_ON_CLOSE: 0x1000,
} as const;

export const CreateAction = { SUPERSEDED: 0, OPENED: 1, CREATED: 2, OVERWRITTEN: 3 } as const;

export const FileAttribute = {
  READONLY: 0x1,
  HIDDEN: 0x2,
  SYSTEM: 0x4,
  DIRECTORY: 0x10,
  ARCHIVE: 0x20,
  NORMAL: 0x80,
} as const;

export const Oplock = {
  NONE: 0x00,
  LEVEL_II: 0x01,
  EXCLUSIVE: 0x08,
  BATCH: 0x09,
  LEASE: 0xff,
} as const;

export const LeaseState = { NONE: 0, R: 1, H: 2, W: 4, RH: 3, RW: 5, RWH: 7 } as const;
export const LeaseFlag = { BREAK_IN_PROGRESS: 0x2, PARENT_LEASE_KEY_SET: 0x4 } as const;

/** Flag of DH2Q and DH2C: the handle is persistent. */
export const DURABLE_FLAG_PERSISTENT = 0x2;

export const LockFlag = { SHARED: 1, EXCLUSIVE: 2, UNLOCK: 4, FAIL_IMMEDIATELY: 0x10 } as const;

export const Fsctl = {
  LMR_REQUEST_RESILIENCY: 0x001401d4,
  VALIDATE_NEGOTIATE_INFO: 0x00140204,
  QUERY_NETWORK_INTERFACE_INFO: 0x001401fc,
  SET_SPARSE: 0x000900c4,
  SET_ZERO_DATA: 0x000980c8,
  QUERY_ALLOCATED_RANGES: 0x000940cf,
} as const;

export const InfoType = { FILE: 1, FILESYSTEM: 2, SECURITY: 3, QUOTA: 4 } as const;

/** FILE_INFORMATION_CLASS, MS-FSCC 2.4. */
export const FileInfo = {
  DIRECTORY: 1,
  BASIC: 4,
  STANDARD: 5,
  INTERNAL: 6,
  RENAME: 10,
  DISPOSITION: 13,
  POSITION: 14,
  ALL: 18,
  ALLOCATION: 19,
  END_OF_FILE: 20,
  NORMALIZED_NAME: 48,
} as const;
