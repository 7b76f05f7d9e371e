<?php
/*
 * A page with CodeIgniter's own Redis session handler: its session library, and what that needs of the framework. The query
 * string has the folder of the framework, the port of the gateway, and what the page does.
 */
require __DIR__ . '/gate.php';

$folder = $_GET['folder'];
$path = "tcp://127.0.0.1:$_GET[port]";
if ($_GET['do'] === 'gate, then start') gate();

if ($_GET['version'] === '3') {
    define('BASEPATH', "$folder/system/");
    define('APPPATH', "$folder/application/");
    function is_php($version) { return version_compare(PHP_VERSION, $version, '>='); }
    function is_cli() { return false; }
    function log_message($level, $message) { if ($level === 'error') echo "log: $message\n"; }
    function config_item($name)
    {
        return [
            'sess_driver' => 'redis',
            'sess_save_path' => $GLOBALS['path'],
            'sess_cookie_name' => 'ci_session',
            'sess_expiration' => 7200,
            'sess_time_to_update' => 0,
            'sess_match_ip' => false,
            'cookie_path' => '/',
            'cookie_domain' => '',
            'cookie_secure' => false,
            'cookie_samesite' => 'Lax',
        ][$name] ?? null;
    }
    require "$folder/system/libraries/Session/Session.php";
    new CI_Session();
} else {
    eval('namespace Config; class Session {
        public string $cookieName = "ci_session";
        public int $expiration = 7200;
        public string $savePath;
        public bool $matchIP = false;
        public int $timeToUpdate = 300;
        public bool $regenerateDestroy = false;
        public ?int $lockWait = null;
        public ?int $lockAttempts = null;
        public ?string $DBGroup = null;
    } class Cookie { public $prefix = ""; public $path = "/"; public $domain = ""; public $secure = false; }');
    define('ENVIRONMENT', 'production');
    define('APPPATH', "$folder/app/");
    define('SYSTEMPATH', "$folder/system/");
    spl_autoload_register(function ($class) use ($folder) {
        $map = ['CodeIgniter\\' => '/system/', 'Psr\\Log\\' => '/system/ThirdParty/PSR/Log/'];
        foreach ($map as $namespace => $directory) {
            if (!str_starts_with($class, $namespace)) continue;
            $file = $folder . $directory . strtr(substr($class, strlen($namespace)), '\\', '/') . '.php';
            if (file_exists($file)) require $file;
        }
    });
    function config($name) { return new ("Config\\" . (str_contains($name, 'Cookie') ? 'Cookie' : 'Session'))(); }
    function lang($line) { return $line; }
    $config = new Config\Session();
    // The prefix ci_session: is followed by the name of the cookie.
    $config->savePath = $path;
    $handler = new CodeIgniter\Session\Handlers\RedisHandler($config, '192.0.2.1');
    $handler->setLogger(new class extends Psr\Log\AbstractLogger {
        public function log($level, string|Stringable $message, array $context = []): void { if ($level === 'error') echo "log: $message\n"; }
    });
    // As CodeIgniter\Session\Session does.
    ini_set('session.name', 'ci_session');
    ini_set('session.use_strict_mode', 1);
    session_set_save_handler($handler, true);
    session_start();
}

switch ($_GET['do']) {
    case 'set':
        gate();
        $_SESSION[$_GET['key']] = 1;
        break;
    case 'increment':
    case 'gate, then start':
        increment();
        break;
    case 'regenerate':
        session_regenerate_id(true);
        break;
    case 'destroy':
        session_destroy();
        $_SESSION = [];
        break;
}
echo json_encode((object) array_diff_key($_SESSION, ['__ci_last_regenerate' => 0]));
