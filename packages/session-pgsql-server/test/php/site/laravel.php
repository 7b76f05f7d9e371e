<?php
/*
 * A page of a Laravel application: its session manager, cache store and Redis connection, configured as its skeleton does,
 * with the gateway as the connection "session". The query string has the settings and what the page does.
 */
require __DIR__ . '/gate.php';
foreach (['Cache', 'Config', 'Container', 'Encryption', 'Events', 'Redis', 'Session'] as $component) {
    require_once "Illuminate/$component/autoload.php";
}

$connection = ['host' => '127.0.0.1', 'port' => $_GET['port'], 'database' => (int) ($_GET['database'] ?? 0)];
$app = new Illuminate\Container\Container();
Illuminate\Container\Container::setInstance($app);
$app['config'] = new Illuminate\Config\Repository([
    'database.redis' => [
        'client' => $_GET['client'],
        'options' => ['cluster' => 'redis', 'prefix' => 'laravel_database_'],
        'session' => $connection,
    ],
    'cache' => [
        'default' => 'redis',
        'prefix' => 'laravel_cache_',
        'stores' => ['redis' => ['driver' => 'redis', 'connection' => 'session', 'lock_connection' => 'session']],
    ],
    'session' => [
        'driver' => 'redis',
        'lifetime' => 120,
        'cookie' => 'laravel_session',
        'connection' => 'session',
        'encrypt' => isset($_GET['encrypt']),
    ],
]);
$app->singleton('redis', fn ($app) => new Illuminate\Redis\RedisManager($app, $_GET['client'], $app['config']['database.redis']));
$app->singleton('cache', fn ($app) => new Illuminate\Cache\CacheManager($app));
$app->singleton('encrypter', fn () => new Illuminate\Encryption\Encrypter(str_repeat('k', 32), 'AES-256-CBC'));
$app->bind('events', fn ($app) => new Illuminate\Events\Dispatcher($app));

$session = (new Illuminate\Session\SessionManager($app))->driver();
$session->setId($_COOKIE['laravel_session'] ?? null);
$do = $_GET['do'];
$lock = null;
if (isset($_GET['block'])) {
    // As Illuminate\Session\Middleware\StartSession does for a route with block().
    if ($do === 'gate, then start') gate();
    $lock = $app['cache']->store()->lock('session:' . $session->getId(), 10)->betweenBlockedAttemptsSleepFor(50);
    $lock->block((int) $_GET['block']);
}
$session->start();

switch ($do) {
    case 'set':
        gate();
        $session->put($_GET['key'], $_GET['value'] ?? 1);
        break;
    case 'push':
        gate();
        $session->push('list', $_GET['value']);
        break;
    case 'flash':
        $session->flash('message', 'saved');
        break;
    case 'increment':
    case 'gate, then start':
        $count = $session->get('count', 0);
        usleep((int) ($_GET['hold'] ?? 0));
        $session->put('count', $count + 1);
        break;
    case 'login':
        $session->migrate(true);
        $session->put('user', 'ada');
        break;
    case 'logout':
        $session->invalidate();
        break;
    case 'show':
        gate();
        break;
}
$all = $session->all();
$session->save();
if ($lock !== null) $lock->release();
setcookie('laravel_session', $session->getId());
unset($all['_token'], $all['_flash']);
echo json_encode((object) $all);
