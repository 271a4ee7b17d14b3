/**
 * The URLs of the model's files, by their names: `pipeline('image-classification', files)`. Each is written out, so that bundlers
 * take the files along.
 */
export default {
  'config.json': new URL('./config.json', import.meta.url),
  'model.safetensors': new URL('./model.safetensors', import.meta.url),
  'preprocessor_config.json': new URL('./preprocessor_config.json', import.meta.url),
}
