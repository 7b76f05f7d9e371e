<?php
require __DIR__ . '/gate.php';

if ($_GET['do'] === 'gate, then start') gate();
if (!session_start()) exit('no session');

switch ($_GET['do']) {
    case 'set':
        gate();
        $_SESSION[$_GET['key']] = $_GET['value'] ?? 1;
        break;
    case 'append':
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
        increment();
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
