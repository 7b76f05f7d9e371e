<?php
/* One request of a site: ?write=1 changes the session, otherwise it is only looked at. */
session_start();
if (!isset($_SESSION['user'])) {
    $_SESSION = ['user' => 'ada', 'cart' => array_fill(0, 10, ['sku' => 'A-1000', 'count' => 1]), 'visits' => 0];
} elseif (isset($_GET['write'])) {
    $_SESSION['visits']++;
}
echo 'user ', $_SESSION['user'];
