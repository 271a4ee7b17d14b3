/** prismal/distribute: devices that share requests. */
export * from '@prismal/distribute'
export { type ThreadOptions, thread } from '@prismal/distribute/threads'
export { readSecretFile } from './secret-file.js'
