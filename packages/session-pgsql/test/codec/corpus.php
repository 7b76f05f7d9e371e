<?php
/*
 * The PHP part of the codecs' tests.
 *
 *   php corpus.php generate HANDLER SEED COUNT   prints sessions encoded by PHP, one per line, base64
 *   php corpus.php decode HANDLER                reads such lines; prints for each what PHP encodes again and its
 *                                                var_export, or "failed"
 *   php corpus.php store HANDLER SEED COUNT IDS  stores sessions as above with the save handler of the settings;
 *                                                an id is IDS and the number of the session
 *   php corpus.php load HANDLER                  reads ids, one per line; prints for each the bytes from the save
 *                                                handler of the settings, or "failed"
 */
namespace App\Model {
    class Base
    {
        private $id = 1;
        protected $tags = ['a', 'b'];
        public $label;
        public function __construct($id, $label) { $this->id = $id; $this->label = $label; }
    }
    class User extends Base
    {
        private $id = 'mine';
        protected ?Base $parent = null;
        public $extra;
        public int $typed;
        public function __construct($id, $label, $extra, $parent = null)
        {
            parent::__construct($id, $label);
            $this->extra = $extra;
            $this->parent = $parent;
        }
    }
    enum Level: string { case Low = 'low'; case High = 'high'; }
}

namespace {
    error_reporting(0);
    enum Suit { case Hearts; case Spades; }
    class Größe { public $wert; private $geheim = "\xff\0"; }
    class Sleeper
    {
        public $kept = 1;
        private $hidden;
        public $dropped = 'x';
        public function __construct($value) { $this->hidden = $value; }
        public function __sleep() { return ['kept', 'hidden']; }
    }
    class Magic
    {
        private $value;
        public function __construct($value) { $this->value = $value; }
        public function __serialize(): array { return ['v' => $this->value, 7 => 'seven', '8' => 8, -1 => null]; }
        public function __unserialize(array $data): void { $this->value = $data['v']; }
    }
    /** PHP serializes its payload, so the values in it are counted. */
    class Nested implements Serializable
    {
        public $value;
        public function __construct($value) { $this->value = $value; }
        public function serialize() { return serialize($this->value); }
        public function unserialize($text) { $this->value = unserialize($text); }
    }
    /** Its payload is two consecutive values; it reads only the first. */
    class Twice implements Serializable
    {
        public $value;
        public function __construct($value) { $this->value = $value; }
        public function serialize() { return serialize($this->value) . serialize([$this->value]); }
        public function unserialize($text) { $this->value = unserialize($text); }
    }
    class Opaque implements Serializable
    {
        public $value;
        public function __construct($value) { $this->value = $value; }
        public function serialize() { return "\0\xfe|{" . $this->value . '}'; }
        public function unserialize($text) { $this->value = substr($text, 4, -1); }
    }

    final class NoStore implements SessionHandlerInterface
    {
        public function open($path, $name): bool { return true; }
        public function close(): bool { return true; }
        public function read($id): string { return ''; }
        public function write($id, $data): bool { return true; }
        public function destroy($id): bool { return true; }
        public function gc($lifetime): int { return 0; }
    }

    /**
     * The save handler of the settings. Keeps the bytes that it returned and does not pass them to PHP, because PHP
     * cannot decode some of its own sessions, and then destroys them.
     */
    final class Keeper extends SessionHandler
    {
        public string|false $bytes = false;
        public function read(string $id): string|false { return ($this->bytes = parent::read($id)) === false ? false : ''; }
    }

    final class Generator_
    {
        private array $objects = [];
        private array $shared = [];

        /** Fills $_SESSION. */
        public function session(): void
        {
            $this->objects = [];
            $this->shared = [];
            $_SESSION = [];
            for ($i = mt_rand(0, 6); $i >= 0; $i--) {
                $this->put($_SESSION, $this->name(), 0);
            }
        }

        private function put(array &$into, $key, int $depth): void
        {
            switch (mt_rand(0, 19)) {
                case 0:
                    $into[$key] = $this->value($depth);
                    $this->shared[] = &$into[$key];
                    break;
                case 1:
                case 2:
                    if ($this->shared !== []) {
                        $into[$key] = &$this->shared[mt_rand(0, count($this->shared) - 1)];
                        break;
                    }
                    // no break
                case 3:
                    // An array that holds itself.
                    $into[$key] = [1, 'deep' => [2]];
                    $into[$key]['self'] = &$into[$key];
                    $into[$key]['deep'][] = &$into[$key];
                    break;
                default:
                    $into[$key] = $this->value($depth);
            }
        }

        private function value(int $depth)
        {
            $kind = mt_rand(0, $depth > 4 ? 9 : 16);
            switch ($kind) {
                case 0: return null;
                case 1: return (bool) mt_rand(0, 1);
                case 2: return mt_rand(-100, 100);
                case 3: return $this->pick([PHP_INT_MAX, PHP_INT_MIN, 2 ** 53, 2 ** 53 - 1, -(2 ** 53), 2 ** 53 + 1, mt_rand() * mt_rand()]);
                case 4: return (float) mt_rand(-20, 20);
                case 5: return $this->float();
                case 6: return $this->ascii(mt_rand(0, 20));
                case 7: return $this->pick(['', 'é', '日本語', '😀', "\u{FEFF}bom", "a\0b", '%00', '";s:1:"x', '__proto__', "\u{2028}", "\u{10FFFF}"]);
                case 8: return random_text(mt_rand(0, 40));
                case 9: return $this->objects === [] ? Suit::Hearts : $this->pick($this->objects);
                case 10: case 11: case 12: case 13: return $this->collection($depth);
                default:
                    $object = $this->object($depth);
                    $this->objects[] = $object;
                    return $object;
            }
        }

        private function collection(int $depth): array
        {
            $array = [];
            $kind = mt_rand(0, 3);
            for ($i = mt_rand(0, 5); $i > 0; $i--) {
                $key = match ($kind) {
                    0 => count($array),
                    1 => $this->name(),
                    2 => mt_rand(-3, 30),
                    default => mt_rand(0, 1) ? $this->name() : $this->pick([0, 1, 2, PHP_INT_MAX, PHP_INT_MIN, -1, '05', '-0', '1.5', '9223372036854775808', 2 ** 53 + 1]),
                };
                $this->put($array, $key, $depth + 1);
            }
            return $array;
        }

        private function object(int $depth): object
        {
            $inner = fn () => $this->value($depth + 1);
            switch (mt_rand(0, 21)) {
                case 0: return new App\Model\Base($inner(), $inner());
                case 1: case 2: return new App\Model\User($inner(), $inner(), $inner(), new App\Model\Base(1, $inner()));
                case 3: return $this->pick([Suit::Hearts, Suit::Spades, App\Model\Level::Low, App\Model\Level::High]);
                case 4: $object = new Größe; $object->wert = $inner(); return $object;
                case 5: return new Sleeper($inner());
                case 6: return new Magic($inner());
                case 7: case 8: return new Nested($inner());
                case 9: return new Twice($inner());
                case 10: return new Opaque($this->ascii(5));
                case 11: return (object) $this->collection($depth);
                case 12:
                    $storage = new SplObjectStorage;
                    $storage[new stdClass] = $inner();
                    if ($this->objects !== []) $storage[$this->pick($this->objects)] = 'data';
                    return $storage;
                case 13: return new ArrayObject($this->collection($depth));
                case 14: return new ArrayIterator($this->collection($depth));
                case 15: return new DateTimeImmutable('@' . mt_rand());
                case 16: return new DateTime('2024-02-29 12:00:00.5', new DateTimeZone('Europe/Zurich'));
                case 17: return new DateInterval('P1DT2H');
                case 18: $list = new SplDoublyLinkedList; $list->push($inner()); $list->push($inner()); return $list;
                case 19: return unserialize("O:14:\"Vendor\\Missing\":2:{s:1:\"a\";i:1;s:4:\"\0*\0b\";d:2;}");
                case 20: $object = new stdClass; $object->self = $object; $object->ref = &$object->self; $object->{'5'} = $inner(); return $object;
                default:
                    $object = new stdClass;
                    $this->objects[] = $object;
                    $object->children = [$inner(), $object, $inner()];
                    $object->twin = new stdClass;
                    $object->twin->parent = $object;
                    return $object;
            }
        }

        private function float(): float
        {
            return $this->pick([
                0.1, 0.2 + 0.1, -0.0, INF, -INF, NAN, 1e15, 1e16, 1e17, 1e18, 1e22, 1.5e25, 1e-4, 1e-5, 1.5e-7, 5e-324,
                PHP_FLOAT_MAX, PHP_FLOAT_MIN, PHP_FLOAT_EPSILON, 2.0 ** 53, 2.0 ** 63, -1 / 3, mt_rand() / 7, mt_rand() / 1e9,
                mt_rand() * 1e12 + 0.5, unpack('d', random_text(8))[1],
            ]);
        }

        private function name()
        {
            return match (mt_rand(0, 13)) {
                0 => $this->pick(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', 'then']),
                1 => $this->pick(['!bang', 'a!b', '', 'ключ', 'caf' . "\xe9", "\xff\xfe", "nul\0nul", '#hash', 'a b', "\xed\xb2\xa9", 'é' . "\xc3"]),
                2 => str_repeat('n', mt_rand(100, 140)),
                3 => mt_rand(0, 20),
                default => 'k' . $this->ascii(mt_rand(0, 8)),
            };
        }

        private function ascii(int $length): string
        {
            $text = '';
            for (; $length > 0; $length--) $text .= 'abcdefghijklmnopqrstuvwxyz0123456789_%";:{}'[mt_rand(0, 42)];
            return $text;
        }

        private function pick(array $of) { return $of[mt_rand(0, count($of) - 1)]; }
    }

    function random_text(int $length): string
    {
        $text = '';
        for (; $length > 0; $length--) $text .= chr(mt_rand(0, 255));
        return $text;
    }

    function without_cookies(string $handler): void
    {
        ini_set('session.use_cookies', '0');
        ini_set('session.use_strict_mode', '0');
        ini_set('session.cache_limiter', '');
        ini_set('session.serialize_handler', $handler);
    }

    function start(string $handler): void
    {
        without_cookies($handler);
        session_set_save_handler(new NoStore, false);
        session_id('corpus');
        session_start();
    }

    [, $mode, $handler] = $argv;
    ob_start();
    $mode === 'store' || $mode === 'load' ? without_cookies($handler) : start($handler);
    ob_end_clean();
    if ($mode === 'store') {
        mt_srand((int) $argv[3]);
        $generator = new Generator_;
        for ($made = 0; $made < (int) $argv[4]; ) {
            ini_set('serialize_precision', $made % 4 === 0 ? '17' : '-1');
            session_id($argv[5] . $made);
            if (!session_start()) exit("failed\n");
            $generator->session();
            $text = session_encode();
            if ($text === false) {
                session_abort();
                continue;
            }
            if (!session_write_close()) exit("failed\n");
            $made++;
            fwrite(STDOUT, base64_encode($text) . "\n");
        }
    } elseif ($mode === 'load') {
        $keeper = new Keeper;
        session_set_save_handler($keeper, false);
        while (($line = fgets(STDIN)) !== false) {
            session_id(trim($line));
            $started = session_start();
            fwrite(STDOUT, ($started ? base64_encode($keeper->bytes) : 'failed') . "\n");
            session_abort();
        }
    } elseif ($mode === 'generate') {
        mt_srand((int) $argv[3]);
        $generator = new Generator_;
        for ($made = 0; $made < (int) $argv[4]; ) {
            // Many servers still write floats with 17 digits.
            ini_set('serialize_precision', $made % 4 === 0 ? '17' : '-1');
            $generator->session();
            $text = session_encode();
            // Nothing that this handler can name; try the next.
            if ($text === false) continue;
            $made++;
            fwrite(STDOUT, base64_encode($text) . "\n");
        }
    } else {
        while (($line = fgets(STDIN)) !== false) {
            $_SESSION = [];
            try {
                $decoded = session_decode(base64_decode($line));
            } catch (Throwable) {
                $decoded = false;
            }
            if (!$decoded) {
                // A failure destroys the session.
                fwrite(STDOUT, "failed\n");
                start($handler);
                continue;
            }
            $again = (string) session_encode();
            ob_start();
            var_export($_SESSION);
            fwrite(STDOUT, base64_encode($again) . ' ' . base64_encode(ob_get_clean()) . "\n");
        }
    }
}
