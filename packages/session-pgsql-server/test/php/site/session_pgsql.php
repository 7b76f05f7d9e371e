<?php
/* Calls a function of session_pgsql and prints its result and warnings. */
if (!isset($_GET['prepended'])) require __DIR__ . '/../../../php/session_pgsql.php';

ob_start();
if (isset($_GET['start'])) session_start();
if (isset($_GET['set'])) $_SESSION[$_GET['set']] = 1;
if (isset($_GET['close'])) session_write_close();
if (isset($_GET['call'])) {
    $arguments = isset($_GET['arguments']) ? json_decode($_GET['arguments'], true) : [];
    $result = ("session_pgsql_$_GET[call]")(...$arguments);
    $warnings = ob_get_clean();
    echo json_encode(['result' => $result, 'warnings' => $warnings]);
}
if (isset($_GET['destroy'])) session_destroy();
