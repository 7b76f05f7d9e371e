import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { tell } from '../state.ts'
import { Problem } from './small.tsx'

export interface Question {
  readonly title: string
  readonly body: ComponentChildren
  /** What the button says that does it. */
  readonly act: string
  /** Whether it cannot be undone. */
  readonly grave?: boolean
  /** Does it. @returns what has come of it, in words */
  run(): Promise<string>
}

const asked = signal<Question | undefined>()

/** Asks before something is done; what comes of it is told. */
export function ask(question: Question): void {
  asked.value = question
}

/** The dialog for `ask`; it is on the page once. */
export function Asking() {
  const question = asked.value
  return question === undefined ? null : <AskingOne key={question.title} question={question} />
}

function AskingOne({ question }: { question: Question }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<string>()
  useEffect(() => dialog.current?.showModal(), [])

  const run = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      const text = await question.run()
      dialog.current?.close()
      tell(text)
    } catch (error) {
      setFailure((error as Error).message)
      setBusy(false)
    }
  }
  return (
    <dialog
      ref={dialog}
      aria-labelledby="asking"
      onClose={() => {
        asked.value = undefined
      }}
      onCancel={(event) => busy && event.preventDefault()}
    >
      <h2 id="asking">{question.title}</h2>
      {question.body}
      {failure !== undefined && <Problem text={failure} />}
      <div class="buttons">
        {/* What cannot be undone is not what Enter does. */}
        <button type="button" autofocus disabled={busy} onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button
          type="button"
          class={question.grave ? 'grave' : 'main'}
          disabled={busy}
          onClick={() => void run()}
        >
          {busy ? 'One moment…' : question.act}
        </button>
      </div>
    </dialog>
  )
}
