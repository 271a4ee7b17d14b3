import { library } from '../../packaging/library.js'

export default library({
  // The tokenizer is an entry, so that it lies in a file of its own, which a bundle that reads no text leaves out.
  entry: { index: 'src/index.ts', node: 'src/node.ts', tokenizer: 'src/text/tokenizer.ts' },
  bundled: ['@huggingface/tokenizers'],
})
