/** What an import of a wasm file gives where the runtime compiles it beforehand. */
declare module '*.wasm' {
  const module: WebAssembly.Module
  export default module
}
