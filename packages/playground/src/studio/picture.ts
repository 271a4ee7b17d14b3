/** Pictures: classified alone and shared. */
import { pipeline } from 'prismal'
import { aloneRunner, imageClassification, type Part, type Runner } from 'prismal/models'
import { type Asked, compare } from './compare.js'
import type { Answer, Label, Question } from './messages.js'
import { Team } from './team.js'

type Classifier = Awaited<ReturnType<typeof pipeline<'image-classification'>>>

export class Picture {
  readonly #pipeline: Classifier
  readonly team: Team

  private constructor(classifier: Classifier) {
    this.#pipeline = classifier
    this.team = new Team(classifier.runner.model)
  }
  static async load(model: string, progress: (loadedBytes: number, totalBytes: number) => void): Promise<Picture> {
    const progress_callback = (info: { loaded: number; total: number }) => progress(info.loaded, info.total)
    return new Picture(await pipeline('image-classification', model, { progress_callback }))
  }

  /** Tells the labels of both ways, then how they compare. */
  async answer(
    { image, sharing }: Extract<Question, { kind: 'classify' }>,
    tell: (answer: Answer) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { model } = this.#pipeline.runner
    const part = await this.#pipeline.sequence(image)
    const alone = this.#asker(aloneRunner(model), part, signal)
    tell({ kind: 'labels', way: 'alone', labels: (await alone()).labels })
    signal.throwIfAborted()
    const runner = await this.team.runner(sharing, step => tell({ kind: 'step', step }))
    signal.throwIfAborted()
    const shared = this.#asker(runner, part, signal)
    tell({ kind: 'labels', way: 'shared', labels: (await shared()).labels })
    const comparison = await compare({
      ...{ model, part, sharing, runner, alone, shared },
      ...{ want: 'first', decodes: false },
    })
    tell({ kind: 'compared', comparison })
  }

  #asker(runner: Runner, part: Part, signal: AbortSignal): () => Promise<Asked & { labels: Label[] }> {
    const topk = runner.model.labels?.length ?? 1
    const classify = imageClassification<Part>(runner, async input => input)
    return async () => {
      const { output: labels, report } = await classify.withReport(part, { topk, signal })
      const byName = [...labels].sort((a, b) => (a.label < b.label ? -1 : 1))
      return { labels, probabilities: byName.map(label => label.score), report }
    }
  }
}
