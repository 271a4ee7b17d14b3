/** The URLs of the model's files, by their names: `pipeline('text-generation', files)`. */
declare const files: Readonly<
  Record<
    'config.json' | 'generation_config.json' | 'model.safetensors' | 'tokenizer.json' | 'tokenizer_config.json',
    URL
  >
>
export default files
