/** The decoders of image files, in WebAssembly: loaded where there is an image and no platform that decodes it. */
export { decodeImage } from './decoders/decode-image.js'
