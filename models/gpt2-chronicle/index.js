/**
 * The URLs of the model's files, by their names: `pipeline('text-generation', files)`. Each is written out, so that bundlers
 * take the files along.
 */
export default {
  'config.json': new URL('./config.json', import.meta.url),
  'generation_config.json': new URL('./generation_config.json', import.meta.url),
  'model.safetensors': new URL('./model.safetensors', import.meta.url),
  'tokenizer.json': new URL('./tokenizer.json', import.meta.url),
  'tokenizer_config.json': new URL('./tokenizer_config.json', import.meta.url),
}
