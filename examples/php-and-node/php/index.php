<?php
/*
 * PHP's half: the login and the logout. It contains nothing about PostgreSQL or Node: two lines in php.ini select the
 * gateway.
 */
session_start();

if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $user = trim((string) ($_POST['user'] ?? ''));
    // A new id at the login: an attacker who knows the old id is not logged in.
    session_regenerate_id(true);
    if ($user !== '') {
        $_SESSION['user'] = substr($user, 0, 40);
        $_SESSION['cart'] = ['book' => 1];
    } else {
        session_destroy();
    }
    header('Location: /');
    exit;
}
$html = fn (mixed $value): string => htmlspecialchars((string) $value);
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>PHP and Node</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }</style>
<h1>This is PHP <?= PHP_MAJOR_VERSION ?></h1>
<?php if (!isset($_SESSION['user'])): ?>
<form method="post">
  <label>Name <input name="user" required autocomplete="username"></label>
  <button>Sign in</button>
</form>
<?php else: ?>
<p>Signed in as <strong><?= $html($_SESSION['user']) ?></strong>.</p>
<p>Node has counted <strong><?= $html($_SESSION['visits'] ?? 0) ?></strong> visits of
  <a href="<?= $html(getenv('NODE_URL')) ?>">its page</a>, and put into the cart:
  <?= $html(implode(', ', array_keys($_SESSION['cart']))) ?>.</p>
<form method="post"><button>Sign out</button></form>
<?php endif ?>
