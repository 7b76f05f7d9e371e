import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { notify } from '../state.ts'
import { Problem } from './common.tsx'

export interface Confirmation {
  readonly title: string
  readonly body: ComponentChildren
  /** The label of the button that runs the action. */
  readonly action: string
  /** Whether the action cannot be undone. */
  readonly destructive?: boolean
  /** Runs the action. @returns the text of the notification */
  run(): Promise<string>
}

const current = signal<Confirmation | undefined>()

/** Opens a dialog that runs an action once the user confirms it, and then shows its result. */
export function confirm(confirmation: Confirmation): void {
  current.value = confirmation
}

/** The dialog that `confirm` opens. The page renders it once. */
export function ConfirmDialog() {
  const confirmation = current.value
  return confirmation === undefined ? null : <Dialog key={confirmation.title} confirmation={confirmation} />
}

function Dialog({ confirmation }: { confirmation: Confirmation }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<string>()
  useEffect(() => dialog.current?.showModal(), [])

  const run = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      const text = await confirmation.run()
      dialog.current?.close()
      notify(text)
    } catch (error) {
      setFailure((error as Error).message)
      setBusy(false)
    }
  }
  return (
    <dialog
      ref={dialog}
      aria-labelledby="confirm"
      onClose={() => {
        current.value = undefined
      }}
      onCancel={(event) => busy && event.preventDefault()}
    >
      <h2 id="confirm">{confirmation.title}</h2>
      {confirmation.body}
      {failure !== undefined && <Problem text={failure} />}
      <div class="buttons">
        {/* Cancel has the focus, so that Enter does not run the action. */}
        <button type="button" autofocus disabled={busy} onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button
          type="button"
          class={confirmation.destructive ? 'destructive' : 'main'}
          disabled={busy}
          onClick={() => void run()}
        >
          {busy ? 'Please wait…' : confirmation.action}
        </button>
      </div>
    </dialog>
  )
}
