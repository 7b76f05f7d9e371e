<?php
/*
 * Requests that overlap reliably: each creates a file in a folder when it has read its session, and continues when the
 * folder contains the file "go".
 */

function gate(): void
{
    if (!isset($_GET['gate'])) return;
    touch("$_GET[gate]/arrived-" . getmypid() . '-' . uniqid());
    for ($i = 0; !file_exists("$_GET[gate]/go"); $i++) {
        if ($i > 30000) exit('waited in vain');
        usleep(2000);
        clearstatcache();
    }
}

if ($_GET['do'] === 'gate, then start') gate();
if (!session_start()) exit('no session');

switch ($_GET['do']) {
    case 'set':
        gate();
        $_SESSION[$_GET['key']] = $_GET['value'] ?? 1;
        break;
    case 'push':
        gate();
        $_SESSION[$_GET['key']][] = $_GET['value'];
        break;
    case 'unset':
        gate();
        unset($_SESSION[$_GET['key']]);
        break;
    case 'read':
        gate();
        break;
    case 'increment':
    case 'gate, then start':
        $count = $_SESSION['count'] ?? 0;
        usleep((int) ($_GET['hold'] ?? 0));
        $_SESSION['count'] = $count + 1;
        break;
    case 'destroy':
        session_destroy();
        $_SESSION = [];
        break;
    case 'regenerate':
        session_regenerate_id(true);
        break;
    case 'show':
        break;
}
echo json_encode((object) $_SESSION);
