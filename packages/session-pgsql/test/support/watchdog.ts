import { spawn } from 'node:child_process'

export interface Watchdog {
  /** The folder stays; the server is stopped all the same. */
  keep(): void
  /** All is tidied already. */
  dismiss(): void
}

/**
 * A small shell that reads from a pipe. When this process ends, however it ends (kill -9 included), the pipe
 * closes; then the shell stops the server, if it still runs, and removes its folder. So a test run that is
 * interrupted leaves nothing behind, and no test needs an exit handler.
 */
const SCRIPT = `
keep=
while read -r word; do
  [ "$word" = dismiss ] && exit
  [ "$word" = keep ] && keep=1
done
cd / || exit
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
  if [ -d /proc/self ]; then children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
  else children=$(ps -A -o ppid=,pid= | awk -v p="$pid" '$1 == p { print $2 }')
  fi
  kill -QUIT "$pid" 2>/dev/null
  for each in $children $pid; do kill -CONT "$each" 2>/dev/null; done
  n=0
  while kill -0 "$pid" 2>/dev/null && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
  kill -KILL "$pid" $children 2>/dev/null
fi
[ -n "$keep" ] || rm -rf "$1"
`

export function startWatchdog(folder: string): Watchdog {
  const child = spawn('sh', ['-c', SCRIPT, 'watchdog', folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  })
  child.unref()
  child.on('error', () => {})
  child.stdin.on('error', () => {})
  // Neither the child nor the pipe keeps this process alive. Bun's pipe never does, and has no unref.
  ;(child.stdin as unknown as { unref?(): void }).unref?.()
  return {
    keep: () => child.stdin.write('keep\n'),
    dismiss: () => child.stdin.end('dismiss\n'),
  }
}
