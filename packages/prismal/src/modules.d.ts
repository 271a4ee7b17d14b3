/** Modules that are not TypeScript, or whose file the runtime decides. */

/** A wasm file, where the runtime compiles it beforehand. */
declare module '*.wasm' {
  const module: WebAssembly.Module
  export default module
}

/** `imports` in package.json: decoders.ts, decoders-workerd.ts or no-decoders.ts. */
declare module '#decoders' {
  export function decodeImage(bytes: Uint8Array, name?: string): Promise<import('@prismal/models').Image>
}
