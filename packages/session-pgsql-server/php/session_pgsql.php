<?php
/**
 * The functions of the C extension session_pgsql, for a PHP whose sessions are served by session-pgsql-server's gateway.
 *
 *     session.save_handler = redis
 *     session.save_path    = "tcp://127.0.0.1:6380?prefix=PHPSESSID:"
 *     auto_prepend_file    = /usr/local/lib/node_modules/session-pgsql-server/php/session_pgsql.php
 *
 * or `require` this file in scripts that use the functions. They send commands to the gateway in session.save_path, over
 * a connection of their own, opened with the first command. This file also stores the client's address
 * ($_SERVER['REMOTE_ADDR']) with each session, at the end of the request.
 *
 * Requires PHP 8.1 or later and phpredis 5.3 or later. A function that fails raises a warning and returns false.
 */

if (!function_exists('session_pgsql_status')) {
    /**
     * Returns the settings in force, and the name, role and health of each database server; never a password. Keys:
     * "Servers", "Number of Servers", "Failover Mode", "Short Circuit", "Keep Expired", "Settings".
     */
    function session_pgsql_status(): array|false
    {
        $status = SessionPgsqlGateway::ask('SESSION.STATUS');
        if (!is_string($status)) return false;
        $status = json_decode($status, true);
        return [
            'Servers' => $status['servers'],
            'Number of Servers' => count($status['servers']),
            'Failover Mode' => $status['settings']['failoverMode'] ?? false,
            'Short Circuit' => $status['settings']['shortCircuit'] ?? false,
            'Keep Expired' => $status['settings']['keepExpired'] ?? false,
            'Settings' => $status['settings'],
        ];
    }

    /**
     * Returns the metadata of the current session under the keys of the C extension; times in seconds since 1970.
     * Null if the session is not stored yet: PHP stores it at session_write_close(), or at the end of the request.
     */
    function session_pgsql_info(): array|null|false
    {
        $info = SessionPgsqlGateway::askOfSession('SESSION.INFO');
        if (!is_string($info)) return $info;
        $info = json_decode($info, true);
        $seconds = fn (?string $date): ?int => $date === null ? null : strtotime($date);
        return [
            'Session ID' => $info['id'],
            'Session Name' => $info['name'],
            'Accesses' => $info['accesses'],
            'Errors' => $info['errors'],
            'Warnings' => $info['warnings'],
            'Notices' => $info['notices'],
            'Created' => $seconds($info['created']),
            'Modified' => $seconds($info['modified']),
            'Expires' => $seconds($info['expires']),
            'Address Created' => $info['addressCreated'],
            'Address Modified' => $info['addressModified'],
            'Custom' => $info['custom'],
            // With --max-lifetime: when the session ends at the latest.
            ...(isset($info['endsAt']) ? ['Ends' => $seconds($info['endsAt'])] : []),
        ];
    }

    /**
     * Sets the custom field of the current session, for example to the user's id, by which the session can be found.
     * Null clears it. If the session is not stored yet, the field is stored with it.
     */
    function session_pgsql_set_field(?string $value): bool
    {
        return SessionPgsqlGateway::askOfSession('SESSION.FIELD', $value ?? '') !== false;
    }

    /** Returns the custom field of the current session; null if it is empty. */
    function session_pgsql_get_field(): string|null|false
    {
        return SessionPgsqlGateway::askOfSession('SESSION.FIELD');
    }

    /**
     * Adds one to an error counter of the current session, and stores the message.
     *
     * @param int|string $error_level 'error', 'warning' or 'notice', or one of PHP's levels, such as E_USER_WARNING
     */
    function session_pgsql_add_error(int|string $error_level, ?string $error_message = null): bool
    {
        $level = match ($error_level) {
            E_WARNING, E_CORE_WARNING, E_COMPILE_WARNING, E_USER_WARNING, 'warning' => 'warning',
            E_NOTICE, E_USER_NOTICE, E_DEPRECATED, E_USER_DEPRECATED, 'notice' => 'notice',
            E_ERROR, E_PARSE, E_CORE_ERROR, E_COMPILE_ERROR, E_USER_ERROR, E_RECOVERABLE_ERROR, 'error' => 'error',
            default => throw new ValueError(
                "session_pgsql_add_error(): Argument #1 (\$error_level) must be 'error', 'warning', 'notice', or one of PHP's levels",
            ),
        };
        $message = $error_message === null ? [] : [$error_message];
        return SessionPgsqlGateway::askOfSession('SESSION.ERROR', $level, ...$message) !== false;
    }

    /** Returns the three error counters of the current session, and the last message if asked for. */
    function session_pgsql_get_error(bool $with_error_message = false): array|false
    {
        $errors = SessionPgsqlGateway::askOfSession('SESSION.ERROR');
        if ($errors === false) return false;
        $errors = $errors === null ? [] : json_decode($errors, true);
        $counters = [
            'Errors' => $errors['errors'] ?? 0,
            'Warnings' => $errors['warnings'] ?? 0,
            'Notices' => $errors['notices'] ?? 0,
        ];
        return $with_error_message ? $counters + ['Error Message' => $errors['message'] ?? null] : $counters;
    }

    /** Makes the gateway reconnect to its database servers. */
    function session_pgsql_reset(): bool
    {
        return SessionPgsqlGateway::ask('SESSION.RESET') !== false;
    }
}

/** The connection to the gateway. Internal: for this file. */
final class SessionPgsqlGateway
{
    private const DEFAULT_PREFIX = 'PHPREDIS_SESSION:';

    private static ?Redis $connection = null;
    /** The save path that the connection was opened for. */
    private static string $path = '';

    /**
     * Sends a command.
     *
     * @return string|int|true|null|false null: there is no value; false: the command failed, with a warning
     */
    public static function ask(string $command, string ...$arguments): string|int|bool|null
    {
        try {
            $redis = self::connection(session_save_path());
            $redis->clearLastError();
            $answer = $redis->rawCommand($command, ...$arguments);
            if ($redis->getLastError() !== null) {
                throw new RedisException($redis->getLastError());
            }
        } catch (RedisException $error) {
            // The next call reconnects.
            self::$connection = null;
            trigger_error("session_pgsql: $command: " . $error->getMessage(), E_USER_WARNING);
            return false;
        }
        return $answer === false ? null : $answer;
    }

    /** Sends a command for the key of the current session. */
    public static function askOfSession(string $command, string ...$arguments): string|int|bool|null
    {
        $id = (string) session_id();
        if ($id === '') {
            trigger_error("session_pgsql: $command: no session is active; call session_start() first", E_USER_WARNING);
            return false;
        }
        return self::ask($command, self::prefix(session_save_path()) . $id, ...$arguments);
    }

    /** Returns what phpredis puts before the id in the keys of sessions. */
    public static function prefix(string $path): string
    {
        return self::serverFor($path, (string) session_id())['prefix'] ?? self::DEFAULT_PREFIX;
    }

    /** Sends the client's address, at the end of a request and before PHP writes the session. */
    public static function sendAddress(): void
    {
        $address = $_SERVER['REMOTE_ADDR'] ?? '';
        if ($address !== '' && session_id() !== '' && ini_get('session.save_handler') === 'redis') {
            self::askOfSession('SESSION.ADDRESS', $address);
        }
    }

    /** @throws RedisException */
    public static function connection(string $path): Redis
    {
        if (self::$connection !== null && self::$path === $path) {
            return self::$connection;
        }
        $redis = self::connect(self::serverFor($path, (string) session_id()));
        self::$path = $path;
        return self::$connection = $redis;
    }

    /**
     * @param array<string, mixed> $server
     * @throws RedisException
     */
    private static function connect(array $server): Redis
    {
        $redis = new Redis();
        $timeout = (float) ($server['timeout'] ?? 5);
        $arguments = [$server['host'], $server['port'], $timeout, null, 0, (float) ($server['read_timeout'] ?? 30)];
        if (isset($server['stream'])) {
            $arguments[] = ['stream' => $server['stream']];
        }
        // For an unknown host name phpredis both warns and throws.
        if (!@$redis->connect(...$arguments)) {
            throw new RedisException("cannot connect to $server[host]");
        }
        if (isset($server['auth']) && !$redis->auth($server['auth'])) {
            throw new RedisException('the gateway refused the password in session.save_path (auth)');
        }
        return $redis;
    }

    /**
     * Returns the server of a save path to which phpredis sends the session with this id: by weight, from the first
     * four bytes of the id.
     *
     * @return array<string, mixed>
     * @throws RedisException
     */
    private static function serverFor(string $path, string $id): array
    {
        $servers = [];
        foreach (preg_split('/[\s,]+/', $path, -1, PREG_SPLIT_NO_EMPTY) as $text) {
            // phpredis searches its list from the end.
            array_unshift($servers, self::server($text));
        }
        if ($servers === []) {
            throw new RedisException('session.save_path contains no server');
        }
        $weights = array_column($servers, 'weight');
        $place = unpack('L', str_pad($id, 4, "\0"))[1] % array_sum($weights);
        foreach ($servers as $server) {
            if ($place < $server['weight']) {
                return $server;
            }
            $place -= $server['weight'];
        }
        return $servers[0];
    }

    /** @return array<string, mixed> */
    private static function server(string $text): array
    {
        $isSocket = str_starts_with($text, 'unix:');
        $url = parse_url($isSocket ? 'file' . substr($text, 4) : $text);
        if ($url === false || !isset($url[$isSocket ? 'path' : 'host'])) {
            throw new RedisException('invalid session.save_path: expected tcp://HOST:PORT or unix:PATH, as phpredis reads it');
        }
        parse_str($url['query'] ?? '', $server);
        $server['weight'] = max(1, (int) ($server['weight'] ?? 1));
        if ($isSocket) {
            return ['host' => $url['path'], 'port' => 0] + $server;
        }
        $scheme = in_array($url['scheme'] ?? 'tcp', ['tls', 'ssl', 'rediss'], true) ? 'tls://' : '';
        return ['host' => $scheme . trim($url['host'], '[]'), 'port' => $url['port'] ?? 6379] + $server;
    }
}

register_shutdown_function([SessionPgsqlGateway::class, 'sendAddress']);
