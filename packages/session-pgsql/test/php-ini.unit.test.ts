// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is PHP's syntax
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SessionPgsqlError } from '../src/errors.ts'
import { parsePhpIni } from '../src/php-ini.ts'

/** Isolates the tests from PHP's environment variables. */
const environment = { PATH: process.env.PATH ?? '', FOO: 'foo', BLANK: ' a ; b ' }

const php = spawnSync('php', ['-n', '-r', 'echo PHP_VERSION_ID;'], { encoding: 'utf8' })
const hasPhp = php.status === 0
if (!hasPhp) console.warn('SKIPPED: no php on this machine, so the php.ini scanner is not compared with PHP')

/** A php.ini and the directives that PHP reads from it; 'refused' for a syntax error. */
type Row = readonly [ini: string, directives: Record<string, string> | 'refused']

const TABLE: readonly Row[] = [
  ['a=1\n', { a: '1' }],
  ['  a  =  1  \n', { a: '1' }],
  ['a=1', { a: '1' }],
  ['\uFEFFa=1\n', { a: '1' }],
  ['a=1\r\nb=2\rc=3\n', { a: '1', b: '2', c: '3' }],
  ['a=1\na=2\n', { a: '2' }],
  ['A=1\na=2\n', { A: '1', a: '2' }],
  ['a\n', {}],
  ['a=\nb=1\n', { a: '', b: '1' }],
  ['session_pgsql.db = host=h\n', 'refused'],
  ['session_pgsql.db = "host=h dbname=d;host=i"\n', { 'session_pgsql.db': 'host=h dbname=d;host=i' }],
  ["db = 'host=h;host=i'\n", { db: 'host=h;host=i' }],
  ['db = "host=h password=\'a b\'"\n', { db: "host=h password='a b'" }],
  ["db = \"password='it\\'s'\"\n", { db: "password='it\\'s'" }],
  ['a = b c  d\n', { a: 'b c  d' }],
  ['a = b ; c\n', { a: 'b' }],
  ['a = b;c\n', { a: 'b' }],
  ['a = "b;c" ; d\n', { a: 'b;c' }],
  ['; a = 1\n;b=2\nc=3\n', { c: '3' }],
  ['#a = 1\n', { '#a': '1' }],
  [
    'a = On\nb = off\nc = YES\nd = No\ne = none\nf = NULL\ng = true\nh = False\n',
    {
      a: '1',
      b: '',
      c: '1',
      d: '',
      e: '',
      f: '',
      g: '1',
      h: '',
    },
  ],
  ['a = "On"\nb = only\nc = "off"\nd = nobody\n', { a: 'On', b: 'only', c: 'off', d: 'nobody' }],
  ['a = on it\n', 'refused'],
  ['a = it on\n', 'refused'],
  ['on = 1\n', 'refused'],
  [' on = 1\n', { on: '1' }],
  ['a = ${FOO}\n', { a: 'foo' }],
  ['a = ${FOO}bar${NOWHERE}\n', { a: 'foobar' }],
  ['a = "x${FOO}y"\n', { a: 'xfooy' }],
  ["a = 'x${FOO}y'\n", { a: 'x${FOO}y' }],
  ['a = "${BLANK}"\n', { a: ' a ; b ' }],
  ['a = ${FOO\n', 'refused'],
  ['a = $FOO\n', { a: '$FOO' }],
  ['a = b$\\{c\n', { a: 'b$\\{c' }],
  ['a = "x" "y"\n', { a: 'xy' }],
  ['a = x "y" z\n', { a: 'xyz' }],
  ["a = x 'y' z\n", { a: 'x y z' }],
  ["a = 'x'y'z'\n", { a: 'xyz' }],
  ["a = ''\nb = 1\n", { a: '', b: '1' }],
  ['a = ""\nb = 1\n', { a: '', b: '1' }],
  ["a = ''x\nb = 1\n", { a: '', b: '1' }],
  ["a = ''x=2\nb = 1\n", { a: '', "'x": '2', b: '1' }],
  ['a = "x\ny"\n', { a: 'x\ny' }],
  ["a = 'x\ny'\nb=1\n", { a: 'x\ny', b: '1' }],
  ['a = "x\\"y"\n', { a: 'x"y' }],
  ['a = "x\\\\y"\n', { a: 'x\\y' }],
  ['a = "x\\ny"\n', { a: 'x\\ny' }],
  ['a = "x\\\'y"\n', { a: "x\\'y" }],
  ['a = "x\\$y\\${FOO}"\n', { a: 'x$y${FOO}' }],
  ['a = "C:\\php\\"\nb = 1\n', { a: 'C:\\php\\', b: '1' }],
  ['a = C:\\php\\\nb = 1\n', { a: 'C:\\php\\', b: '1' }],
  ["a = 'x\\'\nb = 1\n", { a: 'x\\', b: '1' }],
  ['a = x\\;y\n', { a: 'x\\' }],
  ['a = x"y\n', 'refused'],
  ['a = "x\n', 'refused'],
  ['a = x=y\n', 'refused'],
  ['a = x!y\n', 'refused'],
  ['a = x(y)\n', 'refused'],
  ['a = {x}\n', { a: '{x}' }],
  ['a = [x]\n', { a: '[x]' }],
  ['a = 1|6\n', { a: '7' }],
  ['a = 7 & ~2\n', { a: '5' }],
  ['a = (1|2)^1\n', { a: '2' }],
  ['a = !0\n', { a: '1' }],
  ['a = ~\n', 'refused'],
  ['a = p&q\n', { a: '0' }],
  ['a = 1.5\nb = -3\nc = 010\nd = 0x1f\n', { a: '1.5', b: '-3', c: '010', d: '0x1f' }],
  ['[PHP]\na=1\n[Session]\nb=2\n', { a: '1', b: '2' }],
  ['[a]b=1\n', { b: '1' }],
  ['[a\nb=1\n', 'refused'],
  ['a[b] = 1\n', {}],
  ['a[] = 1\nb = 2\n', { b: '2' }],
  ['a[${FOO}] = 1\nb = 2\n', { b: '2' }],
  ['a.b-c_d e = é✓\n', { 'a.b-c_d e': 'é✓' }],
]

/** Returns what one run of PHP reads from many texts: the scalars, or 'refused'. */
function askPhp(texts: readonly string[]): (Record<string, string> | 'refused')[] {
  const script = `
    $out = [];
    foreach (json_decode(stream_get_contents(STDIN)) as $text) {
      $all = [];
      // Without sections, as a php.ini is read; only an array in the same place would be lost.
      $read = @parse_ini_string($text, false, INI_SCANNER_NORMAL);
      if ($read === false) { $out[] = 'refused'; continue; }
      foreach ($read as $name => $value) if (is_string($value)) $all[$name] = $value;
      $out[] = (object) $all;
    }
    echo json_encode($out, JSON_THROW_ON_ERROR);`
  const run = spawnSync('php', ['-n', '-d', 'memory_limit=-1', '-r', script], {
    input: JSON.stringify(texts),
    encoding: 'utf8',
    env: environment,
    maxBuffer: 1e9,
  })
  expect(run.stderr).toBe('')
  return JSON.parse(run.stdout)
}

function ours(text: string): Record<string, string> | 'refused' {
  try {
    return Object.fromEntries(parsePhpIni(text, { environment }))
  } catch (error) {
    expect(error).toBeInstanceOf(SessionPgsqlError)
    return 'refused'
  }
}

describe('parsePhpIni', () => {
  test.each(TABLE)('%j', (text, directives) => {
    expect(ours(text)).toEqual(directives)
  })

  test('the message has file and line, but nothing of the text', () => {
    const text = 'a=1\n\nsession_pgsql.db = host=h password=hunter2\n'
    expect(() => parsePhpIni(text, { path: '/etc/php.ini' })).toThrowError(
      /^\/etc\/php.ini, line 3: (?!.*hunter2)/,
    )
    expect(() => parsePhpIni('a="hunter2\n\n\n', { environment })).toThrowError(
      /^php.ini, line 1: (?!.*hunter2)/,
    )
    expect(() => parsePhpIni('a=\0')).toThrowError(/NUL/)
  })

  test('rejects syntax at which PHP silently ignores the rest of the file', () => {
    // An unclosed apostrophe: PHP sets a to "it" and stops reading without an error.
    expect(ours("a = it's\nb = 1\n")).toBe('refused')
    expect(ours(']\nb = 1\n')).toBe('refused')
  })

  test('earlier directives come before the environment', () => {
    expect(ours('FOO = bar\na = ${FOO}\n')).toEqual({ FOO: 'bar', a: 'bar' })
  })

  test('supports the fallback of a variable, as PHP does since 8.3', () => {
    expect(ours('a = ${NOWHERE:-x}${FOO:-y}\n')).toEqual({ a: 'xfoo' })
  })
})

describe.skipIf(!hasPhp)('real PHP', () => {
  test('reads every row of the table alike', () => {
    const answers = askPhp(TABLE.map(([text]) => text))
    for (const [i, [text, directives]] of TABLE.entries()) {
      expect([text, answers[i]]).toEqual([text, directives])
    }
  })

  test('reads 5000 random texts alike', () => {
    const tokens = [
      ...[
        'a',
        'b.c',
        '=',
        ' = ',
        '\n',
        '\r\n',
        ' ',
        '\t',
        ';',
        '"',
        '\\',
        '\\"',
        '\\$',
        "'x'",
        "''",
        '${FOO}',
        '$',
      ],
      ...[
        '{',
        '}',
        'On',
        'off',
        'none',
        'null',
        'yes',
        '1',
        '2.5',
        '|',
        '&',
        '~',
        '!',
        '(',
        ')',
        '^',
        '#',
        'é',
        ',',
      ],
      ...['\na = ', '\nb="', '"\n', 'host=h', 'C:\\', '-3', ':', '\n[s]\n', '[x]'],
    ]
    const text = fc
      .array(fc.constantFrom(...tokens), { minLength: 1, maxLength: 12 })
      .map((parts) => `a = ${parts.join('')}\n`)
      // Leaves out what PHP silently ignores (a bare apostrophe or bracket), and its special case `$\$`.
      .filter((candidate) => !/\$\\?[\s$]|'[^']*$|\]\s*\]|(?:on|off|none|null|yes)\s*$/i.test(candidate))
    const texts = fc.sample(text, { numRuns: 5000, seed: 20260101 })
    const answers = askPhp(texts)
    const differ = texts
      .map((candidate, i) => ({ text: candidate, php: answers[i], ours: ours(candidate) }))
      .filter((one) => JSON.stringify(sorted(one.php)) !== JSON.stringify(sorted(one.ours)))
    expect(differ).toEqual([])
    expect(answers.filter((answer) => answer !== 'refused').length).toBeGreaterThan(1000)
  })

  describe('as a php.ini', () => {
    let folder = ''
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'session-pgsql-'))
    })
    afterAll(() => rmSync(folder, { recursive: true }))

    /** Returns `ini_get` of two directives that PHP takes literally. */
    function iniGet(text: string): { from: string; user_agent: string } {
      const path = join(folder, 'php.ini')
      writeFileSync(path, text)
      const script = "echo json_encode(['from' => ini_get('from'), 'user_agent' => ini_get('user_agent')]);"
      const run = spawnSync('php', ['-c', path, '-r', script], { encoding: 'utf8', env: environment })
      return JSON.parse(run.stdout)
    }

    test.each([
      'from = "a;b" ; c\nuser_agent = ${from}x\n',
      'from = On\nuser_agent = none\n',
      'from = 1\nfrom = 2\n',
      '[PHP]\nfrom = 1\n[Session]\nuser_agent = 2\n',
      'from = 1\n[PATH=/www]\nfrom = 2\nuser_agent = 3\n',
      'from = 1\n[HOST=example.org]\nfrom = 2\n',
      'from = 1\n[PATH=/www]\nfrom = 2\n[Session]\nfrom = 3\n',
      'from = 1\n[PATH=/www]\n[PATH]\nfrom = 3\n',
      '[PATH]\nfrom = 1\n',
      '[HOST]\nfrom = 1\n',
      '[PATH=]\nfrom = 1\n',
      '[ PATH=/www]\nfrom = 1\n',
      '[path = /www]\nfrom = 1\n',
      '[PATHS]\nfrom = 1\n',
      '[Path="/www"]\nfrom = 1\n',
      'FROM = 1\n',
      '\uFEFFfrom = 1\n',
      'from = "C:\\www\\"\nuser_agent = 1\n',
      'from = 5|2\nuser_agent = "${NOWHERE}"\n',
    ])('%j', (text) => {
      const directives = parsePhpIni(text, { environment })
      expect({ from: '', user_agent: '', ...pick(directives) }).toEqual(iniGet(text))
    })
  })
})

function pick(directives: Map<string, string>): Record<string, string> {
  return Object.fromEntries([...directives].filter(([name]) => name === 'from' || name === 'user_agent'))
}

function sorted(answer: Record<string, string> | 'refused' | undefined): unknown {
  return typeof answer === 'object' ? Object.entries(answer).sort() : answer
}
