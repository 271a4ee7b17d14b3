/** The URLs of the model's files, by their names: `pipeline('image-classification', files)`. */
declare const files: Readonly<Record<'config.json' | 'model.safetensors' | 'preprocessor_config.json', URL>>
export default files
