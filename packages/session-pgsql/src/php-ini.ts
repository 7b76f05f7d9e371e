export function readPhpIni(_path: string): ReadonlyMap<string, string> {
  return new Map()
}
