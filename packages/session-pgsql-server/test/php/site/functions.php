<?php
/*
 * Shows what PHP's session functions do, step by step, on any save handler. functions.php?case=NAME&step=N runs one
 * step of a case as one request; functions.php without a query lists the cases and the number of their steps.
 */

class Account
{
    public $email = 'ada@example.org';
    protected $level = 7;
    private $secret = "\0\xff";
}

/** Prints the result of a call; PHP prints its warnings. */
function show(string $what, mixed $value): void
{
    echo $what, ' = ';
    var_dump($value);
}

/** The built-in handler, wrapped in a class as sites do; prints each call. */
class Wrapped extends SessionHandler
{
    public function open(string $path, string $name): bool
    {
        return $this->told("open $name", parent::open($path, $name));
    }

    public function close(): bool
    {
        return $this->told('close', parent::close());
    }

    public function create_sid(): string
    {
        return $this->told('create_sid', 'own-' . parent::create_sid());
    }

    public function read(string $id): string|false
    {
        return $this->told("read $id", parent::read($id));
    }

    public function write(string $id, string $data): bool
    {
        return $this->told("write $id $data", parent::write($id, $data));
    }

    public function destroy(string $id): bool
    {
        return $this->told("destroy $id", parent::destroy($id));
    }

    public function gc(int $lifetime): int|false
    {
        return $this->told("gc $lifetime", parent::gc($lifetime));
    }

    protected function told(string $what, mixed $value): mixed
    {
        show("  $what", $value);
        return $value;
    }
}

/** A handler that also validates ids in strict mode, and updates timestamps of unchanged sessions. */
class WrappedStrictly extends Wrapped implements SessionUpdateTimestampHandlerInterface
{
    public function validateId(string $id): bool
    {
        return $this->told("validateId $id", parent::read($id) !== '');
    }

    public function updateTimestamp(string $id, string $data): bool
    {
        return $this->told("updateTimestamp $id", parent::write($id, $data));
    }
}

/** A handler around the built-in one, as frameworks have, that adds a variable to each session. */
class Around implements SessionHandlerInterface
{
    public function __construct(private SessionHandler $inner)
    {
    }

    public function open(string $path, string $name): bool
    {
        return $this->inner->open($path, $name);
    }

    public function close(): bool
    {
        return $this->inner->close();
    }

    public function read(string $id): string|false
    {
        return $this->inner->read($id);
    }

    public function write(string $id, string $data): bool
    {
        return $this->inner->write($id, $data . 'stamp|s:2:"ok";');
    }

    public function destroy(string $id): bool
    {
        return $this->inner->destroy($id);
    }

    public function gc(int $lifetime): int|false
    {
        return $this->inner->gc($lifetime);
    }
}

/** A handler that encrypts, as in PHP's manual. */
class Encrypting extends SessionHandler
{
    public function read(string $id): string|false
    {
        return base64_decode(parent::read($id));
    }

    public function write(string $id, string $data): bool
    {
        return parent::write($id, base64_encode($data));
    }
}

/** Prints warnings in a fixed form, without file names. */
set_error_handler(function (int $level, string $message): bool {
    echo [E_WARNING => 'Warning', E_NOTICE => 'Notice', E_DEPRECATED => 'Deprecated'][$level] ?? $level, ": $message\n";
    return true;
});

$begin = function (): void {
    show('session_start', session_start());
    $_SESSION['user'] = 'ada';
    $_SESSION['visits'] = 1;
};
$look = function (): void {
    show('session_start', session_start());
    show('$_SESSION', $_SESSION);
};

$cases = [
    'start' => [
        function () use ($begin) {
            show('status', session_status());
            $begin();
            show('status', session_status());
            show('again', session_start());
        },
        function () use ($look) {
            $look();
            $_SESSION['visits']++;
            $_SESSION['added'] = [1, 'two' => 2.5];
        },
        $look,
    ],
    'start with options' => [
        function () {
            show('session_start', session_start(['name' => 'shop', 'cookie_lifetime' => 100, 'cookie_path' => '/shop', 'cookie_samesite' => 'Lax']));
            $_SESSION['cart'] = ['book'];
        },
        function () {
            show('session_start', session_start(['name' => 'shop', 'no_such_option' => 1]));
            show('$_SESSION', $_SESSION);
        },
    ],
    'an empty session' => [
        fn () => show('session_start', session_start()),
        $look,
        $look,
    ],
    'nothing is started' => [
        function () {
            show('status', session_status());
            show('session_write_close', session_write_close());
            show('session_abort', session_abort());
            show('session_reset', session_reset());
            show('session_unset', session_unset());
            show('session_destroy', session_destroy());
            show('session_encode', session_encode());
            show('session_decode', session_decode('a|i:1;'));
            show('session_regenerate_id', session_regenerate_id());
            show('session_gc', session_gc());
            show('session_id', session_id());
        },
    ],
    'regenerate' => [
        $begin,
        function () use ($look) {
            $look();
            $before = session_id();
            show('session_regenerate_id', session_regenerate_id());
            show('another id', session_id() !== $before);
            $_SESSION['visits']++;
            $_SESSION['before'] = $before;
        },
        function () use ($look) {
            $look();
            $before = $_SESSION['before'];
            session_write_close();
            // The old session stays as it was.
            session_id($before);
            $look();
        },
    ],
    'regenerate and delete' => [
        $begin,
        function () use ($look) {
            $look();
            $before = session_id();
            $_SESSION['changed'] = 'before';
            show('session_regenerate_id', session_regenerate_id(true));
            show('another id', session_id() !== $before);
            $_SESSION['before'] = $before;
        },
        function () use ($look) {
            $look();
            $before = $_SESSION['before'];
            session_write_close();
            session_id($before);
            $look();
        },
    ],
    'regenerate twice' => [
        $begin,
        function () {
            session_start();
            show('one', session_regenerate_id(true));
            show('two', session_regenerate_id(true));
            $_SESSION['visits'] = 3;
        },
        $look,
    ],
    'destroy' => [
        $begin,
        function () use ($look) {
            $look();
            show('session_destroy', session_destroy());
            show('session_id', session_id());
            show('status', session_status());
            show('$_SESSION stays for this request', $_SESSION);
            show('session_destroy', session_destroy());
        },
        $look,
    ],
    'destroy and start again' => [
        $begin,
        function () use ($look) {
            session_start();
            show('session_destroy', session_destroy());
            $look();
            $_SESSION['second'] = 'life';
        },
        $look,
    ],
    'destroy before anything is stored' => [
        function () {
            session_start();
            $_SESSION['a'] = 1;
            show('session_destroy', session_destroy());
        },
        $look,
    ],
    'abort' => [
        $begin,
        function () {
            session_start();
            $_SESSION['visits'] = 99;
            show('session_abort', session_abort());
            show('$_SESSION', $_SESSION);
            show('status', session_status());
        },
        $look,
    ],
    'reset' => [
        $begin,
        function () {
            session_start();
            $_SESSION['visits'] = 99;
            $_SESSION['new'] = true;
            show('session_reset', session_reset());
            show('$_SESSION', $_SESSION);
            $_SESSION['after'] = 'reset';
        },
        $look,
    ],
    'gc' => [
        $begin,
        function () {
            session_start();
            show('session_gc', session_gc());
            show('$_SESSION', $_SESSION);
        },
        $look,
    ],
    'read_and_close' => [
        $begin,
        function () {
            show('session_start', session_start(['read_and_close' => true]));
            show('status', session_status());
            show('$_SESSION', $_SESSION);
            $_SESSION['visits'] = 99;
            show('session_write_close', session_write_close());
        },
        $look,
    ],
    'read_and_close, then to write' => [
        $begin,
        function () use ($look) {
            session_start(['read_and_close' => true]);
            $look();
            $_SESSION['visits']++;
        },
        $look,
    ],
    'lazy_write on' => [
        fn () => ini_set('session.lazy_write', 1) && $begin(),
        $look,
        function () use ($look) {
            $look();
            $_SESSION['visits'] = 1;
        },
        function () use ($look) {
            $look();
            $_SESSION['visits'] = 2;
        },
        $look,
    ],
    'lazy_write off' => [
        function () use ($begin) {
            ini_set('session.lazy_write', 0);
            $begin();
        },
        function () use ($look) {
            ini_set('session.lazy_write', 0);
            $look();
        },
        function () use ($look) {
            ini_set('session.lazy_write', 0);
            $look();
        },
    ],
    'strict mode' => [
        function () use ($look) {
            ini_set('session.use_strict_mode', 1);
            session_id('chosen-by-somebody-else');
            $look();
            show('not adopted', session_id() !== 'chosen-by-somebody-else');
            $_SESSION['user'] = 'ada';
        },
        function () use ($look) {
            ini_set('session.use_strict_mode', 1);
            $before = $_COOKIE['PHPSESSID'];
            $look();
            show('known', session_id() === $before);
            show('session_destroy', session_destroy());
        },
        function () use ($look) {
            ini_set('session.use_strict_mode', 1);
            $before = $_COOKIE['PHPSESSID'];
            $look();
            show('a destroyed one is not known', session_id() !== $before);
        },
    ],
    'an id that is chosen' => [
        function () use ($look) {
            show('session_id', session_id('chosen-by-the-script'));
            $look();
            show('session_id', session_id());
            $_SESSION['by'] = 'choice';
            show('session_id while active', session_id('other'));
        },
        function () use ($look) {
            $look();
            show('session_id', session_id());
        },
    ],
    'an id with blanks' => [
        function () use ($look) {
            session_id('bad/id with blanks');
            $look();
            show('status', session_status());
        },
    ],
    'an id with a slash' => [
        function () use ($look) {
            session_id('bad/id');
            $look();
            show('status', session_status());
        },
    ],
    'encode and decode' => [
        function () {
            session_start();
            $_SESSION['n'] = 1;
            $_SESSION['f'] = 0.1;
            $_SESSION['o'] = new Account;
            $_SESSION['list'] = ['a', 'b'];
            $_SESSION['tied'] = &$_SESSION['list'];
            show('session_encode', base64_encode(session_encode()));
            show('session_decode', session_decode('x|s:1:"y";'));
        },
        function () use ($look) {
            $look();
            show('session_encode', base64_encode(session_encode()));
            $_SESSION['tied'][] = 'c';
            unset($_SESSION['o']);
            show('session_decode', session_decode('n|i:2;garbage'));
            show('status', session_status());
        },
        $look,
    ],
    'name' => [
        function () use ($begin) {
            show('session_name', session_name());
            show('session_name', session_name('other'));
            $begin();
            show('session_name while active', session_name('third'));
        },
        function () use ($look) {
            $look();
            session_write_close();
            session_name('other');
            session_id($_COOKIE['other']);
            $look();
        },
    ],
    'unset' => [
        $begin,
        function () {
            session_start();
            show('session_unset', session_unset());
            show('$_SESSION', $_SESSION);
        },
        $look,
    ],
    'one key unset' => [
        $begin,
        function () {
            session_start();
            unset($_SESSION['user']);
        },
        $look,
    ],
    'write_close' => [
        function () use ($begin, $look) {
            $begin();
            show('session_write_close', session_write_close());
            $_SESSION['after'] = 'the close';
            show('session_write_close', session_write_close());
            $look();
            $_SESSION['second'] = true;
            show('session_commit', session_commit());
            $look();
            $_SESSION['third'] = true;
        },
        $look,
    ],
    'cookie params' => [
        function () use ($begin) {
            show('session_set_cookie_params', session_set_cookie_params(['lifetime' => 0, 'path' => '/app', 'domain' => 'example.org', 'secure' => true, 'httponly' => true, 'samesite' => 'Strict']));
            show('session_get_cookie_params', session_get_cookie_params());
            $begin();
            show('session_set_cookie_params', session_set_cookie_params(10));
        },
        $look,
    ],
    'create_id' => [
        function () use ($begin) {
            show('length', strlen(session_create_id()));
            show('with a prefix', str_starts_with(session_create_id('shop-'), 'shop-'));
            show('with a bad prefix', session_create_id('a b'));
            session_id(session_create_id('shop-'));
            $begin();
            show('starts with', substr(session_id(), 0, 5));
            show('while active', strlen(session_create_id()));
        },
        function () use ($look) {
            $look();
            show('starts with', substr(session_id(), 0, 5));
        },
    ],
    'create_id in strict mode' => [
        function () use ($begin) {
            ini_set('session.use_strict_mode', 1);
            $begin();
            $id = session_create_id('next-');
            session_write_close();
            // As in PHP's manual: a custom id requires strict mode off.
            ini_set('session.use_strict_mode', 0);
            session_id($id);
            session_start();
            show('is taken', session_id() === $id);
            $_SESSION['moved'] = true;
        },
        $look,
    ],
    'cache limiter' => [
        function () use ($begin) {
            show('session_cache_limiter', session_cache_limiter('private'));
            show('session_cache_expire', session_cache_expire(5));
            $begin();
        },
        $look,
    ],
    'objects, bytes and references' => [
        function () {
            session_start();
            $_SESSION['account'] = new Account;
            $_SESSION['same'] = $_SESSION['account'];
            $_SESSION['bytes'] = "\0\x80\xff|;";
            $_SESSION['list'] = [1, 2];
            $_SESSION['tied'] = &$_SESSION['list'];
            $_SESSION['numbers'] = [1.0, -0.0, INF, 0.1 + 0.2, PHP_INT_MIN];
        },
        function () {
            session_start();
            show('one object', $_SESSION['same'] === $_SESSION['account']);
            $_SESSION['tied'][] = 3;
            show('as bytes', base64_encode(session_encode()));
        },
        function () {
            session_start();
            show('as bytes', base64_encode(session_encode()));
        },
    ],
    'a key with a bar' => [
        function () {
            session_start();
            $_SESSION['good'] = 1;
            $_SESSION['a|b'] = 2;
        },
        $look,
    ],
    'a large session' => [
        function () {
            session_start();
            $_SESSION['large'] = str_repeat('0123456789abcdef', 65536);
        },
        function () {
            session_start();
            show('md5', md5($_SESSION['large']));
            $_SESSION['large'] .= 'x';
        },
        function () {
            session_start();
            show('length', strlen($_SESSION['large']));
        },
    ],
    'an exception in the middle' => [
        $begin,
        function () {
            session_start();
            $_SESSION['visits'] = 2;
            throw new Exception('in the middle');
        },
        $look,
    ],
    'exit in the middle' => [
        $begin,
        function () {
            session_start();
            $_SESSION['visits'] = 2;
            exit("exit\n");
        },
        $look,
    ],
    'module name' => [
        function () use ($begin) {
            $own = ini_get('session.save_handler');
            show('as in php.ini', session_module_name() === $own);
            show('set to the same', session_module_name($own) === $own);
            show('set to no module', session_module_name('nonsense'));
            show('still the same', session_module_name() === $own);
            $begin();
            show('while active', session_module_name($own));
            session_write_close();
            show('after the close', session_module_name($own) === $own);
            show('user', session_module_name('user'));
        },
        $look,
    ],
    'save path' => [
        function () use ($begin) {
            $own = ini_get('session.save_path');
            show('as in php.ini', session_save_path() === $own);
            show('set to the same', session_save_path($own) === $own);
            $begin();
            show('while active', session_save_path('/nowhere'));
            show('still the same', session_save_path() === $own);
            session_write_close();
            show('with a NUL', session_save_path("$own\0x"));
        },
        function () use ($look) {
            // The script sets the save path itself, as some sites do instead of php.ini.
            $own = session_save_path();
            ini_set('session.save_path', '');
            session_save_path($own);
            $look();
        },
    ],
    'register_shutdown' => [
        function () use ($begin) {
            $begin();
            register_shutdown_function(function (): void {
                $_SESSION['before'] = 'the close';
            });
            session_register_shutdown();
            register_shutdown_function(function (): void {
                show('status', session_status());
                $_SESSION['after'] = 'the close';
            });
            exit("exit\n");
        },
        $look,
    ],
    'names that are none' => [
        function () {
            foreach (['', '123', 'a b', 'a=b', "a\0b"] as $name) {
                show(json_encode($name), session_name($name));
            }
            show('session_name', session_name());
        },
    ],
    'cookie params, the old way' => [
        function () use ($begin) {
            show('session_set_cookie_params', session_set_cookie_params(60, '/old', 'example.org', true, false));
            show('session_get_cookie_params', session_get_cookie_params());
            show('an unknown one', session_set_cookie_params(['nonsense' => 1]));
            $begin();
        },
        function () use ($look) {
            $look();
            session_write_close();
            show('none', session_set_cookie_params([]));
        },
    ],
    'cache limiters' => [
        fn () => show('nocache', [session_cache_limiter('nocache'), session_start()]),
        fn () => show('public', [session_cache_limiter('public'), session_start()]),
        fn () => show('private_no_expire', [session_cache_limiter('private_no_expire'), session_start()]),
        fn () => show('none', [session_cache_limiter(''), session_start()]),
        function () use ($look) {
            $look();
            show('limiter while active', session_cache_limiter('public'));
            show('expire while active', session_cache_expire(5));
        },
    ],
    'SessionHandler that handles nothing' => [
        function () use ($begin) {
            $handler = new SessionHandler;
            try {
                show('read', $handler->read('x'));
            } catch (Error $error) {
                show(get_class($error), $error->getMessage());
            }
            $begin();
            show('while active', session_set_save_handler(new SessionHandler));
        },
        $look,
    ],
    'SessionHandler itself' => [
        function () use ($begin) {
            show('session_set_save_handler', session_set_save_handler(new SessionHandler, true));
            show('module', session_module_name());
            $begin();
        },
        function () use ($look) {
            session_set_save_handler(new SessionHandler, true);
            $look();
            $_SESSION['visits'] = 2;
        },
        $look,
    ],
    'a handler in a class of the site' => [
        function () use ($begin) {
            session_set_save_handler(new Wrapped, true);
            $begin();
        },
        function () use ($look) {
            session_set_save_handler(new Wrapped, true);
            $look();
        },
        function () use ($look) {
            session_set_save_handler(new Wrapped, true);
            $look();
            show('session_regenerate_id', session_regenerate_id(true));
            $_SESSION['visits'] = 2;
        },
        function () use ($look) {
            session_set_save_handler(new Wrapped, true);
            $look();
            $_SESSION['visits'] = 3;
            show('session_reset', session_reset());
            show('$_SESSION', $_SESSION);
            show('session_abort', session_abort());
        },
        function () use ($look) {
            session_set_save_handler(new Wrapped, true);
            $look();
            show('session_destroy', session_destroy());
        },
        $look,
    ],
    'a handler in a class of the site, with garbage collection' => [
        function () use ($begin) {
            session_set_save_handler(new Wrapped, true);
            $begin();
            show('session_gc', session_gc());
        },
        $look,
    ],
    'a handler in a class of the site, in strict mode' => [
        function () use ($look) {
            ini_set('session.use_strict_mode', 1);
            session_id('chosen-by-somebody-else');
            session_set_save_handler(new WrappedStrictly, true);
            $look();
            $_SESSION['user'] = 'ada';
        },
        function () use ($look) {
            ini_set('session.use_strict_mode', 1);
            session_set_save_handler(new WrappedStrictly, true);
            $look();
        },
        function () use ($look) {
            ini_set('session.use_strict_mode', 1);
            session_set_save_handler(new WrappedStrictly, true);
            $look();
            $_SESSION['user'] = 'eve';
        },
        $look,
    ],
    'a handler around the built-in one' => [
        function () use ($begin) {
            session_set_save_handler(new Around(new SessionHandler), true);
            $begin();
        },
        function () use ($look) {
            session_set_save_handler(new Around(new SessionHandler), true);
            $look();
            unset($_SESSION['stamp'], $_SESSION['user']);
        },
        $look,
    ],
    'a handler of functions' => [
        function () use ($begin) {
            $inner = new SessionHandler;
            show('session_set_save_handler', session_set_save_handler(
                $inner->open(...),
                $inner->close(...),
                $inner->read(...),
                fn ($id, $data) => $inner->write($id, $data),
                $inner->destroy(...),
                $inner->gc(...),
            ));
            session_register_shutdown();
            $begin();
        },
        $look,
    ],
    'a handler that encrypts' => [
        function () use ($begin) {
            session_set_save_handler(new Encrypting, true);
            $begin();
        },
        function () use ($look) {
            session_set_save_handler(new Encrypting, true);
            $look();
        },
    ],
];

set_exception_handler(function (Throwable $error): void {
    echo get_class($error), ': ', $error->getMessage(), "\n";
});

if (!isset($_GET['case'])) {
    echo json_encode(array_map(count(...), $cases));
} else {
    // Without the buffer, output would be sent before the headers.
    ob_start();
    $cases[$_GET['case']][(int) $_GET['step']]();
}
