/** prismal/models: models, contexts and pipelines over parts of one's own. */
export * from '@prismal/models'
export { folderFiles, openFiles } from '@prismal/models/node'
