<?php
/**
 * Copies a live site's sessions to the gateway, so that its users stay logged in:
 *
 *     php move_sessions.php FROM TO [LIFETIME]
 *
 * FROM      a folder of PHP's handler `files`, or a save path of phpredis
 * TO        the gateway, as in session.save_path: "tcp://127.0.0.1:6380?prefix=PHPSESSID:"
 * LIFETIME  seconds that a session lives after its last access, as in session.gc_maxlifetime (default: 1440)
 *
 * Sessions whose bytes are the same at TO are skipped, so the script may run twice: while the site is running, and then,
 * quickly, while PHP is stopped to change php.ini. Do not run it after that change: it would replace newer sessions by
 * older ones. The script only reads FROM.
 */
require __DIR__ . '/session_pgsql.php';

if (PHP_SAPI !== 'cli' || $argc < 3) {
    fwrite(STDERR, "usage: php move_sessions.php FROM TO [LIFETIME]\n");
    exit(2);
}
[, $from, $to] = $argv;
$lifetime = (int) ($argv[3] ?? 1440);

/** @return iterable<string, array{string, int}> by id: the bytes of a session, and the seconds until it expires */
function files(string $folder, int $lifetime): iterable
{
    $entries = new RecursiveIteratorIterator(new RecursiveDirectoryIterator($folder, FilesystemIterator::SKIP_DOTS));
    foreach ($entries as $file) {
        if (!$file->isFile() || !str_starts_with($file->getFilename(), 'sess_')) continue;
        $left = $file->getMTime() + $lifetime - time();
        // PHP may collect the file in the meantime.
        $bytes = $left > 0 ? @file_get_contents($file->getPathname()) : false;
        if ($bytes !== false) yield substr($file->getFilename(), 5) => [$bytes, $left];
    }
}

/** @return iterable<string, array{string, int}> by id, as from files() */
function entries(string $path, int $lifetime): iterable
{
    $redis = SessionPgsqlGateway::connection($path);
    parse_str(parse_url($path, PHP_URL_QUERY) ?? '', $query);
    if (isset($query['database'])) $redis->select((int) $query['database']);
    $prefix = $query['prefix'] ?? 'PHPREDIS_SESSION:';
    $redis->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    $cursor = null;
    while ($keys = $redis->scan($cursor, addcslashes($prefix, '*?[]\\') . '*', 1000)) {
        foreach ($keys as $key) {
            if (str_ends_with($key, '_LOCK')) continue;
            $bytes = $redis->get($key);
            $left = $redis->ttl($key);
            if ($bytes !== false && $left !== -2) yield substr($key, strlen($prefix)) => [$bytes, $left > 0 ? $left : $lifetime];
        }
    }
}

try {
    $source = str_contains($from, '://') ? entries($from, $lifetime) : files($from, $lifetime);
    $source->rewind();
    $gateway = SessionPgsqlGateway::connection($to);
    $prefix = SessionPgsqlGateway::prefix($to);
    $moved = $skipped = 0;
    foreach ($source as $id => [$bytes, $left]) {
        if ($gateway->get($prefix . $id) === $bytes) {
            $skipped++;
        } elseif ($gateway->setex($prefix . $id, $left, $bytes)) {
            $moved++;
        } else {
            throw new RedisException((string) $gateway->getLastError());
        }
    }
} catch (RedisException | UnexpectedValueException $error) {
    fwrite(STDERR, 'move_sessions: ' . $error->getMessage() . "\n");
    exit(1);
}
echo "moved: $moved, skipped: $skipped (already stored)\n";
