<?php
/**
 * Moves a live site's sessions to the gateway, so that nobody is logged out:
 *
 *     php move_sessions.php FROM TO [LIFETIME]
 *
 * FROM      a folder of PHP's `files` handler, or a save path of phpredis
 * TO        the gateway, as session.save_path has it: "tcp://127.0.0.1:6380?prefix=PHPSESSID:"
 * LIFETIME  seconds, as session.gc_maxlifetime has it (default 1440): a file lives so long after its last access
 *
 * What is there already with the same bytes is left alone, so it may be run again: once while the site runs, and
 * once more, which is quick, while PHP is stopped for the change of php.ini. Not after that: it would put old
 * sessions over new ones. FROM is only read.
 */
require __DIR__ . '/session_pgsql.php';

if (PHP_SAPI !== 'cli' || $argc < 3) {
    fwrite(STDERR, "usage: php move_sessions.php FROM TO [LIFETIME]\n");
    exit(2);
}
[, $from, $to] = $argv;
$lifetime = (int) ($argv[3] ?? 1440);

/** @return iterable<string, array{string, int}> by id: the bytes, and the seconds left */
function files(string $folder, int $lifetime): iterable
{
    $entries = new RecursiveIteratorIterator(new RecursiveDirectoryIterator($folder, FilesystemIterator::SKIP_DOTS));
    foreach ($entries as $file) {
        if (!$file->isFile() || !str_starts_with($file->getFilename(), 'sess_')) continue;
        $left = $file->getMTime() + $lifetime - time();
        // It may be collected while we look.
        $bytes = $left > 0 ? @file_get_contents($file->getPathname()) : false;
        if ($bytes !== false) yield substr($file->getFilename(), 5) => [$bytes, $left];
    }
}

/** @return iterable<string, array{string, int}> */
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
    $moved = $there = 0;
    foreach ($source as $id => [$bytes, $left]) {
        if ($gateway->get($prefix . $id) === $bytes) {
            $there++;
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
echo "$moved moved, $there were there already\n";
