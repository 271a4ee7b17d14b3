// Every kernel of the catalogue, under its name.
export { attentionBegin, attentionEnd, attentionFold } from './attention'
export { bf16ToF32, dequantiseRows, f16ToF32, f32ToF16, quantiseRows } from './convert'
export { add, gelu, geluTanh, relu, tanh } from './elementwise'
export { gather, gatherPacked } from './gather'
export { gemm } from './gemm'
export { segmentMeans } from './means'
export { layerNorm, softmax } from './norm'
export { packPanels, transpose } from './pack'
