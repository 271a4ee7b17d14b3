/** Results that are begun in an order and settle in another: each is handed on in the first. */

export class InOrder {
  readonly #waiting: { hand?: () => void }[] = []

  /** How many are not handed on. */
  get length(): number {
    return this.#waiting.length
  }

  /** `hand` is called with the result once those that were added before have been handed on; after a failure nothing is. */
  add<T>(result: Promise<T>, hand: (value: T) => void, failed: (error: Error) => void): void {
    const place: { hand?: () => void } = {}
    this.#waiting.push(place)
    result.then(value => {
      place.hand = () => hand(value)
      for (let head = this.#waiting[0]; head?.hand; head = this.#waiting[0]) {
        this.#waiting.shift()
        head.hand()
      }
    }, failed)
  }
}
