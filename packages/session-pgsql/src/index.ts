export type { Codec } from './codec/codec.ts'
export {
  decodePhpSession,
  encodePhpSession,
  type PhpSessionFormat,
  phpBytesCodec,
} from './codec/php-session.ts'
export {
  PhpArray,
  PhpCustom,
  PhpEnum,
  PhpFloat,
  type PhpKey,
  PhpObject,
  PhpProperties,
} from './codec/php-values.ts'
export type {
  BatchMessage,
  DestroyMessage,
  DiagnosticsMessage,
  GcMessage,
  OperationMessage,
  QueuedMessage,
  ReadMessage,
  TouchMessage,
  WriteMessage,
} from './diagnostics.ts'
export { ERROR_CODES, type ErrorCode, SessionPgsqlError } from './errors.ts'
export type {
  DestroyAllOptions,
  DestroyByFieldOptions,
  ErrorCounts,
  ErrorLevel,
  HandlerStatus,
  JournalEntry,
  LimitByFieldOptions,
  SaveHandlerEvents,
  ServerDue,
  ServerSweep,
  SessionErrors,
  TouchOptions,
  UpdateOptions,
  UpdateResult,
  WriteOptions,
  WriteOutcome,
  WriteResult,
} from './operations.ts'
export { readPhpIni } from './php-ini.ts'
export { SaveHandler } from './save-handler.ts'
export type { ServerStatus } from './servers/server.ts'
export type {
  ColumnDefinition,
  ColumnDefinitions,
  ColumnFilter,
  ColumnType,
  ColumnValues,
} from './session/columns.ts'
export type { Device, Devices } from './session/device.ts'
export type { EndedSession, EndReason } from './session/ended.ts'
export type {
  CountOptions,
  FoundSessions,
  ListColumn,
  ListedSession,
  ListOptions,
  SessionFilter,
  SessionOrder,
  SessionPage,
} from './session/filter.ts'
export type { SessionInfo, SessionRecord } from './session/record.ts'
export type {
  NameStatistics,
  ServerStatistics,
  StandbyStatistics,
  TableStatistics,
} from './session/statistics.ts'
export type {
  CodecName,
  ConflictFunction,
  ConflictRule,
  DatabaseOption,
  EncryptionKey,
  EncryptionOption,
  Logger,
  SaveHandlerOptions,
  Settings,
} from './settings/settings.ts'
