// SPDX-License-Identifier: GPL-3.0-or-later
/** NTSTATUS values (MS-ERREF 2.3) that a test may name; others are shown as hex. */
export const NtStatus = {
  SUCCESS: 0x00000000,
  PENDING: 0x00000103,
  NOTIFY_CLEANUP: 0x0000010b,
  NOTIFY_ENUM_DIR: 0x0000010c,
  BUFFER_OVERFLOW: 0x80000005,
  NO_MORE_FILES: 0x80000006,
  UNSUCCESSFUL: 0xc0000001,
  NOT_IMPLEMENTED: 0xc0000002,
  INVALID_INFO_CLASS: 0xc0000003,
  INFO_LENGTH_MISMATCH: 0xc0000004,
  INVALID_HANDLE: 0xc0000008,
  INVALID_PARAMETER: 0xc000000d,
  NO_SUCH_FILE: 0xc000000f,
  INVALID_DEVICE_REQUEST: 0xc0000010,
  END_OF_FILE: 0xc0000011,
  MORE_PROCESSING_REQUIRED: 0xc0000016,
  NO_MEMORY: 0xc0000017,
  ACCESS_DENIED: 0xc0000022,
  BUFFER_TOO_SMALL: 0xc0000023,
  OBJECT_TYPE_MISMATCH: 0xc0000024,
  OBJECT_NAME_INVALID: 0xc0000033,
  OBJECT_NAME_NOT_FOUND: 0xc0000034,
  OBJECT_NAME_COLLISION: 0xc0000035,
  OBJECT_PATH_INVALID: 0xc0000039,
  OBJECT_PATH_NOT_FOUND: 0xc000003a,
  SHARING_VIOLATION: 0xc0000043,
  FILE_LOCK_CONFLICT: 0xc0000054,
  LOCK_NOT_GRANTED: 0xc0000055,
  DELETE_PENDING: 0xc0000056,
  PRIVILEGE_NOT_HELD: 0xc0000061,
  NO_SUCH_USER: 0xc0000064,
  WRONG_PASSWORD: 0xc000006a,
  LOGON_FAILURE: 0xc000006d,
  ACCOUNT_DISABLED: 0xc0000072,
  RANGE_NOT_LOCKED: 0xc000007e,
  DISK_FULL: 0xc000007f,
  INSUFFICIENT_RESOURCES: 0xc000009a,
  TOO_MANY_OPENED_FILES: 0xc000011f,
  MEDIA_WRITE_PROTECTED: 0xc00000a2,
  FILE_IS_A_DIRECTORY: 0xc00000ba,
  NOT_SUPPORTED: 0xc00000bb,
  NETWORK_NAME_DELETED: 0xc00000c9,
  NETWORK_ACCESS_DENIED: 0xc00000ca,
  BAD_NETWORK_NAME: 0xc00000cc,
  REQUEST_NOT_ACCEPTED: 0xc00000d0,
  IO_TIMEOUT: 0xc00000b5,
  FILE_FORCED_CLOSED: 0xc00000b6,
  UNEXPECTED_NETWORK_ERROR: 0xc00000c4,
  INVALID_OPLOCK_PROTOCOL: 0xc00000e3,
  INTERNAL_ERROR: 0xc00000e5,
  DIRECTORY_NOT_EMPTY: 0xc0000101,
  NOT_A_DIRECTORY: 0xc0000103,
  CANCELLED: 0xc0000120,
  CANNOT_DELETE: 0xc0000121,
  FILE_DELETED: 0xc0000123,
  FILE_CLOSED: 0xc0000128,
  USER_SESSION_DELETED: 0xc0000203,
  CONNECTION_DISCONNECTED: 0xc000020c,
  CONNECTION_RESET: 0xc000020d,
  NETWORK_SESSION_EXPIRED: 0xc000035c,
  NOT_FOUND: 0xc0000225,
  DUPLICATE_OBJECTID: 0xc000022a,
  FILE_NOT_AVAILABLE: 0xc0000467,
  REQUEST_OUT_OF_SEQUENCE: 0xc000042a,
  PATH_NOT_COVERED: 0xc0000257,
  RETRY: 0xc000022d,
  OPLOCK_NOT_GRANTED: 0xc00000e2,
  IO_DEVICE_ERROR: 0xc0000185,
  OPLOCK_BREAK_IN_PROGRESS: 0x00000108,
  CANNOT_BREAK_OPLOCK: 0xc0000909,
  NOT_SAME_DEVICE: 0xc00000d4,
} as const;
export type StatusName = keyof typeof NtStatus;

const names = new Map<number, string>(
  Object.entries(NtStatus).map(([name, value]) => [value, name]),
);

export function statusName(status: number): string {
  return names.get(status) ?? `0x${status.toString(16).padStart(8, '0')}`;
}

/** The two upper bits are the severity; 0 is success, 1 is information. */
export function isSuccess(status: number): boolean {
  return status >>> 30 < 2;
}

/** A request that the server answered with an error. */
export class SmbError extends Error {
  readonly command: string;
  readonly status: number;
  /** The name of the status, e.g. `OBJECT_NAME_NOT_FOUND`. */
  readonly code: string;

  constructor(command: string, status: number) {
    super(`${command} was answered with ${statusName(status)}`);
    this.name = 'SmbError';
    this.command = command;
    this.status = status;
    this.code = statusName(status);
  }
}
