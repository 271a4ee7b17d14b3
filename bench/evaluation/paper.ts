/**
 * What the paper (arXiv 2507.12145) reports, and which of its experiments are repeated here. Figures are those of its
 * tables; where only a summary could be seen, that is said.
 */

/** ViT-B/16 on CIFAR-10, two devices. */
export interface PublishedVit {
  readonly method: string
  readonly gigaflops: number
  readonly lessCompute?: number
  readonly compressionRate?: number
  readonly lessTraffic?: number
  readonly accuracy: number
}

export const PUBLISHED_VIT: readonly PublishedVit[] = [
  { method: 'one device', gigaflops: 35.15, accuracy: 98.01 },
  { method: 'full (Voltage)', gigaflops: 20.37, lessCompute: 0.4205, accuracy: 98.01 },
  {
    ...{ method: 'means L=10', gigaflops: 17.54, lessCompute: 0.5011 },
    ...{ compressionRate: 9.9, lessTraffic: 0.899, accuracy: 95.64 },
  },
  {
    ...{ method: 'means L=20', gigaflops: 17.86, lessCompute: 0.492 },
    ...{ compressionRate: 4.95, lessTraffic: 0.798, accuracy: 96.84 },
  },
  {
    ...{ method: 'means L=30', gigaflops: 18.18, lessCompute: 0.4829 },
    ...{ compressionRate: 3.3, lessTraffic: 0.697, accuracy: 97.06 },
  },
  {
    ...{ method: 'means L=10, finetuned', gigaflops: 17.54, lessCompute: 0.5011 },
    ...{ compressionRate: 9.9, lessTraffic: 0.899, accuracy: 97.43 },
  },
]

/** BERT at a compression rate of 128: what it lost, in points, as the paper's summary says. */
export const PUBLISHED_BERT_LOSS = 0.5

export interface Coverage {
  readonly experiment: string
  readonly state: 'done' | 'stand-in' | 'not possible here'
  readonly how: string
}

/** Every experiment of the paper. */
export const COVERAGE: readonly Coverage[] = [
  {
    experiment: 'ViT on CIFAR-10, P=2: accuracy, FLOPs and traffic by compression rate',
    state: 'stand-in',
    how: 'the same test images; a ViT of this project (65 rows, width 192) instead of ViT-B/16 (197 rows), whose finetuned weights are not public; L = 3, 7, 10 are its compression rates of about 11, 5 and 3. FLOPs and traffic of ViT-B/16 itself: `prismal plan --as-published`, equal to the paper’s',
  },
  {
    experiment: 'ViT finetuned with segment means',
    state: 'stand-in',
    how: 'the same ViT, `weights-tools/train/finetune_with_means.py --plan 2:3`: the rows *finetuned* of the table above',
  },
  {
    experiment: 'ViT on CIFAR-100',
    state: 'not possible here',
    how: 'neither the data set nor a model for it was to be had; MNIST with a ViT trained by others stands beside CIFAR-10',
  },
  {
    experiment: 'ViT on ImageNet-1k',
    state: 'not possible here',
    how: 'neither validation images nor ViT-B/16 weights were to be had',
  },
  {
    experiment: 'BERT on GLUE: SST-2, CoLA, RTE, MRPC, STS-B',
    state: 'stand-in',
    how: 'the same development or test sets; MiniLM (6 layers, width 384) finetuned here instead of BERT-base; at real lengths and padded to 256',
  },
  {
    experiment: 'BERT on GLUE: QNLI',
    state: 'stand-in',
    how: 'its training set was not to be had: a model trained on a part of the development set answers the other part',
  },
  {
    experiment: 'BERT on GLUE: MNLI, QQP',
    state: 'not possible here',
    how: 'neither training nor development sets were to be had',
  },
  {
    experiment: 'GPT-2 on CBT (common nouns, named entities)',
    state: 'stand-in',
    how: 'ten-candidate cloze made from held-out text in the same way, with the GPT-2 of this project (7 M parameters, width 256)',
  },
  {
    experiment: 'GPT-2 on WikiText-2: perplexity',
    state: 'stand-in',
    how: 'the same text, with the same small GPT-2, which never saw such text: bits per byte are high, differences between methods tell',
  },
  {
    experiment: 'Latency on boards (the authors’ follow-up, arXiv 2605.25682)',
    state: 'done',
    how: 'two machines against one, batches 1 to 32: report.md, “Several machines”',
  },
]
