<?php
/*
 * What PHP's session functions do, shown step by step: the same on any save handler, or the difference is
 * explained. functions.php?case=NAME&step=N runs one step, each a request of its own; functions.php lists
 * the cases with the number of their steps.
 */

class Account
{
    public $email = 'ada@example.org';
    protected $level = 7;
    private $secret = "\0\xff";
}

/** Says what a call gave, with the warnings that it caused (PHP shows them in the text). */
function show(string $what, mixed $value): void
{
    echo $what, ' = ';
    var_dump($value);
}

/** Warnings and failures in a fixed form, without the names of files. */
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
            // The old one stays as it was when it was left.
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
            // As the manual does it: an id of one's own needs strict mode off.
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
    'a script that handles its sessions itself' => [
        function () use ($begin) {
            session_set_save_handler(new class extends SessionHandler {}, true);
            $begin();
        },
        function () use ($look) {
            session_set_save_handler(new class extends SessionHandler {}, true);
            $look();
            $_SESSION['visits'] = 2;
        },
        $look,
    ],
];

set_exception_handler(function (Throwable $error): void {
    echo get_class($error), ': ', $error->getMessage(), "\n";
});

if (!isset($_GET['case'])) {
    echo json_encode(array_map(count(...), $cases));
} else {
    // Output holds back the headers otherwise.
    ob_start();
    $cases[$_GET['case']][(int) $_GET['step']]();
}
